"""What a VNN-LIB file asks: boxes of inputs, each with the outputs that would make one of its inputs unsafe."""

import itertools
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64

from calipers.core.errors import InputError
from calipers.verify.vnnlib.formulas import MOST, Comparison, meant
from calipers.verify.vnnlib.syntax import VnnlibQuery, read


@dataclass(frozen=True, eq=False)
class Clause:
    """Unsafe where every row holds: inputs x + outputs y <= bound, or < bound where strict.

    rows: as written. The arrays are theirs in double precision, a row times a positive number where that makes its
    weights exact; bounds are rounded up, so that whatever is unsafe by the rows is so by the arrays.
    """

    inputs: Float64[np.ndarray, "rows inputs"]
    outputs: Float64[np.ndarray, "rows outputs"]
    bound: Float64[np.ndarray, " rows"]
    strict: Bool[np.ndarray, " rows"]
    rows: tuple[Comparison, ...]

    def holds(self, x: Float64[np.ndarray, " inputs"], y: Float64[np.ndarray, " outputs"]) -> bool:
        """Whether an input with this output is unsafe by the rows as written, in exact arithmetic."""
        return all(row.holds(x.tolist(), y.tolist()) for row in self.rows)

    @property
    def key(self) -> bytes:
        """Equal for equal clauses."""
        rounded = b"".join(array.tobytes() for array in (self.inputs, self.outputs, self.bound, self.strict))
        return rounded + repr(self.rows).encode()


@dataclass(frozen=True, eq=False)
class Case:
    """A box of inputs, flat, rounded outwards to double precision; one of them is unsafe if any clause holds of it.

    above, below: whether inputs must exceed the lower limit, and stay short of the upper one: where these are strict,
    or were rounded.
    """

    lower: Float64[np.ndarray, " inputs"]
    upper: Float64[np.ndarray, " inputs"]
    clauses: tuple[Clause, ...]
    above: Bool[np.ndarray, " inputs"]
    below: Bool[np.ndarray, " inputs"]


@dataclass(frozen=True, eq=False)
class Property:
    """Satisfiable iff some input of some case is unsafe.

    inputs, outputs: how many the network has. note: what a reader of the answer has to know; empty if nothing.
    """

    inputs: int
    outputs: int
    cases: tuple[Case, ...]
    note: str = ""

    @classmethod
    def load(cls, path: Path) -> "Property":
        """Raises InputError if the file is damaged or asks what no box can hold."""
        try:
            return cls.of(read(path))
        except InputError as error:
            text = str(error)
            raise error if str(path) in text else InputError(f"property {path}: {text}") from error

    @classmethod
    def of(cls, query: VnnlibQuery) -> "Property":
        """Raises InputError for an input without bounds, and for too many combinations."""
        count = math.prod(map(len, query.assertions))
        if count > MOST:
            raise InputError(f"its disjunctions combine to {count} cases; accepted: up to {MOST}")
        given = [row for assertion in query.assertions if len(assertion) == 1 for row in assertion[0]]
        choices = [assertion for assertion in query.assertions if len(assertion) != 1]
        common = _Bounds.everything(query).within(given)
        rest = [row for row in given if not _is_bound(row)]
        clauses: dict[bytes, list[Clause]] = {}
        boxes: dict[bytes, _Bounds] = {}
        empty = ""
        for choice in itertools.product(*choices):
            chosen = [row for conjunction in choice for row in conjunction]
            box = common.within(chosen)
            contradiction = box.contradiction or _contradiction([*rest, *chosen], box)
            if contradiction:
                empty = empty or contradiction
                continue
            boxes[box.key] = box
            clause = _clause([*rest, *(row for row in chosen if not _is_bound(row))], query)
            clauses.setdefault(box.key, []).append(clause)
        cases = tuple(box.case(tuple(clauses[key])) for key, box in boxes.items())
        note = "" if cases else f"the input set is empty ({empty or 'an assertion is false by itself'})"
        return cls(len(query.inputs), len(query.outputs), cases, note)


@dataclass(frozen=True, eq=False)
class _Bounds:
    """See `Case`."""

    lower: Float64[np.ndarray, " inputs"]
    upper: Float64[np.ndarray, " inputs"]
    above: Bool[np.ndarray, " inputs"]
    below: Bool[np.ndarray, " inputs"]
    names: tuple[str, ...]

    @classmethod
    def everything(cls, query: VnnlibQuery) -> "_Bounds":
        count = len(query.inputs)
        no = np.zeros(count, dtype=bool)
        return cls(np.full(count, -np.inf), np.full(count, np.inf), no, no, query.inputs)

    def within(self, rows: Iterable[Comparison]) -> "_Bounds":
        """What is left under the rows that bound one input."""
        lower, upper, above, below = (side.copy() for side in (self.lower, self.upper, self.above, self.below))
        for row in rows:
            if not _is_bound(row):
                continue
            ((place, weight),) = row.inputs.items()
            # The lower limits of x are the upper ones of -x.
            sign, (limits, open_) = (1, (upper, below)) if weight > 0 else (-1, (lower, above))
            highest = row.bound if weight == sign else meant(row.bound / abs(weight))
            value = _rounded_up(highest)
            beyond = row.strict or value != highest
            if (value, not beyond) < (sign * limits[place], not open_[place]):
                limits[place], open_[place] = sign * value + 0.0, beyond  # no zero with a sign
        return _Bounds(lower, upper, above, below, self.names)

    @property
    def contradiction(self) -> str:
        """Why no input lies within; empty if some does."""
        crossed = (self.lower > self.upper) | ((self.lower == self.upper) & (self.above | self.below))
        if not crossed.any():
            return ""
        first = int(crossed.argmax())
        low, high, name = self.lower[first], self.upper[first], self.names[first]
        if low == high:
            return f"{name} can neither be {low!s} nor lie beside it"
        return f"the lower bound {low!s} of {name} is above its upper bound {high!s}"

    @property
    def key(self) -> bytes:
        return b"".join(side.tobytes() for side in (self.lower, self.upper, self.above, self.below))

    def case(self, clauses: tuple[Clause, ...]) -> Case:
        """With the clauses that belong to it. Raises InputError where a side is missing or too large for a network."""
        sides = (("lower", self.lower), ("upper", self.upper))
        missing = [(what, int(place)) for what, side in sides for place in np.flatnonzero(~np.isfinite(side))]
        if missing:
            what, first = missing[0]
            more = f", and {len(missing) - 1} more bounds are missing" if len(missing) > 1 else ""
            raise InputError(
                f"input {self.names[first]} has no {what} bound (it lies in [{self.lower[first]:g}, "
                f"{self.upper[first]:g}]){more}; accepted: inputs with a lower and an upper bound each"
            )
        large = np.maximum(np.abs(self.lower), np.abs(self.upper)) > np.finfo(np.float32).max
        if large.any():
            first = int(large.argmax())
            raise InputError(
                f"input {self.names[first]} lies in [{self.lower[first]:g}, {self.upper[first]:g}], beyond single "
                f"precision; accepted: bounds of up to {np.finfo(np.float32).max:g} in size"
            )
        return Case(self.lower, self.upper, clauses, self.above, self.below)


def _rounded_up(exact: Fraction) -> float:
    """The smallest number of double precision that is not below."""
    try:
        near = float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -sys.float_info.max
    return near if near >= exact else math.nextafter(near, math.inf)


def _contradiction(rows: list[Comparison], box: _Bounds) -> str:
    """The first row over inputs alone that holds nowhere in a box, in exact arithmetic; empty if there is none."""
    for row in rows:
        if row.outputs or _is_bound(row):
            continue
        ends = [(w, float((box.lower if w > 0 else box.upper)[place])) for place, w in row.inputs.items()]
        if not all(math.isfinite(end) for _, end in ends):
            continue
        least = sum(w * Fraction(end) for w, end in ends)
        if least > row.bound or (row.strict and least == row.bound):
            terms = " + ".join(f"{float(w):g} * {box.names[place]}" for place, w in row.inputs.items()) or "0"
            sign = "<" if row.strict else "<="
            return f"{terms} {sign} {float(row.bound):g} holds nowhere between the bounds"
    return ""


def _is_bound(row: Comparison) -> bool:
    return not row.outputs and len(row.inputs) == 1


def _clause(rows: list[Comparison], query: VnnlibQuery) -> Clause:
    """Without rows: 0 <= 0, which always holds."""
    count = max(1, len(rows))
    inputs, outputs = np.zeros((count, len(query.inputs))), np.zeros((count, len(query.outputs)))
    bound, strict = np.zeros(count), np.zeros(count, dtype=bool)
    for i, row in enumerate(rows):
        factor = _factor([*row.inputs.values(), *row.outputs.values()])
        for matrix, side in ((inputs, row.inputs), (outputs, row.outputs)):
            for place, weight in side.items():
                matrix[i, place] = float(weight * factor)
        bound[i], strict[i] = _rounded_up(row.bound * factor), row.strict
    return Clause(inputs, outputs, bound, strict, tuple(rows))


def _factor(weights: list[Fraction]) -> int:
    """What makes weights exact in double precision, such as 10 for 0.1; 1 where they are, or where nothing does."""
    if all(float(weight) == weight for weight in weights):
        return 1
    common = math.lcm(*(weight.denominator for weight in weights))
    return common if all(abs(weight * common) < 2**53 for weight in weights) else 1
