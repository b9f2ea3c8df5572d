"""Formulas over real variables to disjunctions of conjunctions of linear comparisons, in exact rational arithmetic."""

import math
import re
import sys
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from calipers.verify.vnnlib.expressions import Expression, Fault, Group, Word, shown

# More conjunctions than this in one formula fit no verifier either.
MOST = 100_000
# Exponents of decimal numbers: what lies beyond has no place in double precision, and takes long to write out.
_EXPONENT = 400

_ZERO, _ONE = Fraction(0), Fraction(1)
_LARGEST = Fraction(sys.float_info.max)
_WHOLE = 2**53  # integers below are numbers of double precision
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE]([-+]?\d+))?")
_NEGATED = {"<=": ">", "<": ">=", ">=": "<", ">": "<=", "=": "distinct", "distinct": "="}
_SPELLINGS = {"==": "=", "!=": "distinct"}
_ARITHMETIC = ("+", "-", "*", "/")
_LOGIC = ("and", "or", "not", "=>")


class Variable(NamedTuple):
    """An entry of the network's input or output, by flat index."""

    output: bool
    place: int


class Comparison(NamedTuple):
    """sum of weights * inputs + sum of weights * outputs <= bound, or < bound if strict; entries by flat index.

    The numbers are as `meant`.
    """

    inputs: dict[int, Fraction]
    outputs: dict[int, Fraction]
    bound: Fraction
    strict: bool

    def holds(self, x: Sequence[float], y: Sequence[float]) -> bool:
        """Whether it does at an input with this output, in exact arithmetic; an infinite one exceeds all others."""
        parts = [
            (w, values[place]) for side, values in ((self.inputs, x), (self.outputs, y)) for place, w in side.items()
        ]
        if all(math.isfinite(value) for _, value in parts):
            total: Fraction | float = sum((w * Fraction(value) for w, value in parts), _ZERO)
        else:
            total = sum(float(w) * value for w, value in parts if not math.isfinite(value))
        return total < self.bound if self.strict else total <= self.bound


class _Sum(NamedTuple):
    """Sum of weights * variables + constant."""

    weights: dict[Variable, Fraction]
    constant: Fraction


Conjunction = list[Comparison]
Variables = Mapping[str, Variable]


def conjuncts(expression: Expression) -> list[Expression]:
    """The formulas that an `and` joins; else the formula itself."""
    if isinstance(expression, Group) and expression.head == "and":
        return [part for item in expression.items[1:] for part in conjuncts(item)]
    return [expression]


def normal_form(expression: Expression, variables: Variables, negated: bool = False) -> list[Conjunction]:
    """Disjunctive normal form of a formula or of its negation.

    An empty list never holds, an empty conjunction always does. Raises Fault for what is not linear or not known.
    """
    if isinstance(expression, Word):
        if expression.text in ("true", "false"):
            return [[]] if (expression.text == "true") != negated else []
        raise Fault(expression.at, f"{shown(expression)!r} is no formula")
    head = _SPELLINGS.get(expression.head, expression.head)
    parts = expression.items[1:]
    if head in _NEGATED:
        return _compared(head, expression, variables, negated)
    if head == "not":
        _count(expression, 1, 1)
        return normal_form(parts[0], variables, not negated)
    if head == "=>":
        _count(expression, 2, 2)
        return _joined(
            negated,
            expression,
            [normal_form(parts[0], variables, not negated), normal_form(parts[1], variables, negated)],
        )
    if head in ("and", "or"):
        _count(expression, 1, None)
        return _joined((head == "and") != negated, expression, [normal_form(p, variables, negated) for p in parts])
    known = ", ".join((*_NEGATED, *_SPELLINGS, *_LOGIC, "true", "false"))
    raise Fault(expression.at, f"{shown(expression)!r} is no formula; accepted: {known}")


def _joined(all_: bool, expression: Group, parts: list[list[Conjunction]]) -> list[Conjunction]:
    """The conjunction of normal forms if all_, else their disjunction."""
    if not all_:
        return [conjunction for part in parts for conjunction in part]
    found: list[Conjunction] = [[]]
    for part in parts:
        if len(found) * len(part) > MOST:
            raise Fault(expression.at, f"its disjunctions combine to more than {MOST} cases")
        found = [[*left, *right] for left in found for right in part]
    return found


def _compared(head: str, expression: Group, variables: Variables, negated: bool) -> list[Conjunction]:
    """A comparison of two or more sums; of more, each is compared with the next."""
    _count(expression, 2, 2 if head == "distinct" else None)
    sums = [_sum(part, variables) for part in expression.items[1:]]
    kind = _NEGATED[head] if negated else head
    parts = [_pair(kind, _minus(left, right), expression) for left, right in pairwise(sums)]
    return _joined(not negated, expression, parts)


def _pair(kind: str, difference: _Sum, expression: Group) -> list[Conjunction]:
    """The difference of two sums compared with 0."""
    match kind:
        case "=":
            return [[_row(difference, 1, False, expression), _row(difference, -1, False, expression)]]
        case "distinct":
            return [[_row(difference, 1, True, expression)], [_row(difference, -1, True, expression)]]
        case _:
            return [[_row(difference, -1 if kind in (">=", ">") else 1, kind in ("<", ">"), expression)]]


def _row(sum_: _Sum, sign: int, strict: bool, expression: Group) -> Comparison:
    """Sign times a sum <= 0, or < 0."""
    sides: tuple[dict[int, Fraction], dict[int, Fraction]] = ({}, {})
    if any(map(_beyond, (*sum_.weights.values(), sum_.constant))):
        raise Fault(expression.at, f"{shown(expression)!r} holds a number beyond double precision")
    for variable, weight in sum_.weights.items():
        if weight:
            sides[variable.output][variable.place] = meant(weight) if sign > 0 else -meant(weight)
    bound = meant(sum_.constant)
    return Comparison(*sides, -bound if sign > 0 else bound, strict)


def _beyond(number: Fraction) -> bool:
    return number.numerator.bit_length() - number.denominator.bit_length() > 1022 and abs(number) > _LARGEST


def meant(number: Fraction) -> Fraction:
    """The number of double precision that a decimal was printed from, if it is the shortest for it; others exactly."""
    if (number.denominator == 1 and abs(number.numerator) < _WHOLE) or _beyond(number):
        return number
    near = float(number)
    return Fraction(near) if Fraction(repr(near)) == number else number


def _sum(expression: Expression, variables: Variables) -> _Sum:
    if isinstance(expression, Word):
        variable = variables.get(expression.text)
        if variable is not None:
            return _Sum({variable: _ONE}, _ZERO)
        return _Sum({}, _number(expression, variables))
    head, parts = expression.head, expression.items[1:]
    if head not in _ARITHMETIC:
        raise Fault(expression.at, f"{shown(expression)!r} is no sum; accepted: {', '.join(_ARITHMETIC)}")
    _count(expression, 1 if head in "+-" else 2, None)
    first, *rest = (_sum(part, variables) for part in parts)
    if head == "-" and not rest:
        return _times(first, Fraction(-1))
    for part, operand in zip(parts[1:], rest, strict=True):
        match head:
            case "+":
                first = _minus(first, _times(operand, Fraction(-1)))
            case "-":
                first = _minus(first, operand)
            case "*" if not operand.weights:
                first = _times(first, operand.constant)
            case "*" if not first.weights:
                first = _times(operand, first.constant)
            case "/" if not operand.weights and operand.constant:
                first = _times(first, 1 / operand.constant)
            case "/" if not operand.weights:
                raise Fault(part.at, f"{shown(expression)!r} divides by 0")
            case _:
                raise Fault(expression.at, f"{shown(expression)!r} is not linear; accepted: one factor with variables")
    return first


def _minus(left: _Sum, right: _Sum) -> _Sum:
    weights = dict(left.weights)
    for variable, weight in right.weights.items():
        weights[variable] = weights.get(variable, _ZERO) - weight
    return _Sum(weights, left.constant - right.constant if right.constant else left.constant)


def _times(sum_: _Sum, factor: Fraction) -> _Sum:
    return _Sum({variable: weight * factor for variable, weight in sum_.weights.items()}, sum_.constant * factor)


def _number(word: Word, variables: Variables) -> Fraction:
    found = _NUMBER.fullmatch(word.text)
    if found is None:
        names = list(variables)
        declared = ", ".join(names if len(names) < 7 else [*names[:3], "...", *names[-3:]]) or "none so far"
        raise Fault(word.at, f"unknown symbol {word.text!r}; accepted: numbers and declared variables ({declared})")
    if found[1] is not None and abs(int(found[1])) > _EXPONENT:
        raise Fault(word.at, f"number {word.text} is beyond double precision")
    return Fraction(word.text)


def _count(expression: Group, least: int, most: int | None) -> None:
    """Raise Fault unless an operator has as many operands as it takes."""
    found = len(expression.items) - 1
    if found < least or (most is not None and found > most):
        accepted = f"{least}" if least == most else f"{least} or more"
        raise Fault(expression.at, f"{shown(expression)!r} has {found} operands; accepted: {accepted}")
