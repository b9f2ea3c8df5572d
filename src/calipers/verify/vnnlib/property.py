"""What a VNN-LIB file asks: boxes of inputs, each with the outputs that would make one of its inputs unsafe."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64

from calipers.core.errors import InputError
from calipers.verify.vnnlib.formulas import MOST, Comparison
from calipers.verify.vnnlib.syntax import VnnlibQuery, read


@dataclass(frozen=True, eq=False)
class Clause:
    """Unsafe where every row holds: inputs x + outputs y <= bound, or < bound where strict."""

    inputs: Float64[np.ndarray, "rows inputs"]
    outputs: Float64[np.ndarray, "rows outputs"]
    bound: Float64[np.ndarray, " rows"]
    strict: Bool[np.ndarray, " rows"]

    def holds(self, x: Float64[np.ndarray, " inputs"], y: Float64[np.ndarray, " outputs"]) -> bool:
        """Whether an input with this output is unsafe."""
        value = self.inputs @ x + self.outputs @ y
        return bool(np.where(self.strict, value < self.bound, value <= self.bound).all())

    @property
    def key(self) -> bytes:
        """Equal for equal clauses."""
        return b"".join(array.tobytes() for array in (self.inputs, self.outputs, self.bound, self.strict))


@dataclass(frozen=True, eq=False)
class Case:
    """A box of inputs, flat; one of them is unsafe if any clause holds of it."""

    lower: Float64[np.ndarray, " inputs"]
    upper: Float64[np.ndarray, " inputs"]
    clauses: tuple[Clause, ...]


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
        cases = tuple(Case(*box.finite(), tuple(clauses[key])) for key, box in boxes.items())
        note = "" if cases else f"the input set is empty ({empty or 'an assertion is false by itself'})"
        return cls(len(query.inputs), len(query.outputs), cases, note)


@dataclass(frozen=True, eq=False)
class _Bounds:
    lower: Float64[np.ndarray, " inputs"]
    upper: Float64[np.ndarray, " inputs"]
    names: tuple[str, ...]

    @classmethod
    def everything(cls, query: VnnlibQuery) -> "_Bounds":
        count = len(query.inputs)
        return cls(np.full(count, -np.inf), np.full(count, np.inf), query.inputs)

    def within(self, rows: Iterable[Comparison]) -> "_Bounds":
        """What is left under the rows that bound one input."""
        lower, upper = self.lower.copy(), self.upper.copy()
        for row in rows:
            if not _is_bound(row):
                continue
            ((place, weight),) = row.inputs.items()
            limit = row.bound / weight
            if weight > 0:
                upper[place] = min(upper[place], np.nextafter(limit, -np.inf) if row.strict else limit)
            else:
                lower[place] = max(lower[place], np.nextafter(limit, np.inf) if row.strict else limit)
        return _Bounds(lower, upper, self.names)

    @property
    def contradiction(self) -> str:
        """Why no input lies within; empty if some does."""
        crossed = self.lower > self.upper
        if not crossed.any():
            return ""
        first = int(crossed.argmax())
        low, high = self.lower[first], self.upper[first]
        return f"the lower bound {low!s} of {self.names[first]} is above its upper bound {high!s}"

    @property
    def key(self) -> bytes:
        return self.lower.tobytes() + self.upper.tobytes()

    def finite(self) -> tuple[np.ndarray, np.ndarray]:
        """Both sides. Raises InputError if one is missing."""
        sides = (("lower", self.lower), ("upper", self.upper))
        missing = [(what, int(place)) for what, side in sides for place in np.flatnonzero(~np.isfinite(side))]
        if missing:
            what, first = missing[0]
            more = f", and {len(missing) - 1} more bounds are missing" if len(missing) > 1 else ""
            raise InputError(
                f"input {self.names[first]} has no {what} bound (it lies in [{self.lower[first]:g}, "
                f"{self.upper[first]:g}]){more}; accepted: inputs with a lower and an upper bound each"
            )
        return self.lower, self.upper


def _contradiction(rows: list[Comparison], box: _Bounds) -> str:
    """The first row over inputs alone that holds nowhere in a box, in exact arithmetic; empty if there is none."""
    for row in rows:
        if row.outputs or _is_bound(row):
            continue
        ends = [(w, float((box.lower if w > 0 else box.upper)[place])) for place, w in row.inputs.items()]
        if not all(math.isfinite(end) for _, end in ends):
            continue
        least, bound = sum(Fraction(w) * Fraction(end) for w, end in ends), Fraction(row.bound)
        if least > bound or (row.strict and least == bound):
            terms = " + ".join(f"{w:g} * {box.names[place]}" for place, w in row.inputs.items()) or "0"
            return f"{terms} {'<' if row.strict else '<='} {row.bound:g} holds nowhere between the bounds"
    return ""


def _is_bound(row: Comparison) -> bool:
    return not row.outputs and len(row.inputs) == 1


def _clause(rows: list[Comparison], query: VnnlibQuery) -> Clause:
    """Without rows: 0 <= 0, which always holds."""
    count = max(1, len(rows))
    inputs, outputs = np.zeros((count, len(query.inputs))), np.zeros((count, len(query.outputs)))
    bound, strict = np.zeros(count), np.zeros(count, dtype=bool)
    for i, row in enumerate(rows):
        for matrix, side in ((inputs, row.inputs), (outputs, row.outputs)):
            for place, weight in side.items():
                matrix[i, place] = weight
        bound[i], strict[i] = row.bound, row.strict
    return Clause(inputs, outputs, bound, strict)
