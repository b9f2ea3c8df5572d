"""What a VNN-LIB file asks: boxes of inputs, each with the outputs that would make one of its inputs unsafe."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64

from calipers.core.errors import InputError
from calipers.verify.vnnlib.syntax import Comparison, Query, read

# More combinations of disjunctions than this do not fit a verifier either.
_MOST = 100_000


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
    """Satisfiable iff some input of some case is unsafe. inputs, outputs: how many the network has."""

    inputs: int
    outputs: int
    cases: tuple[Case, ...]

    @classmethod
    def load(cls, path: Path) -> "Property":
        """Raises InputError if the file is damaged or asks what no box can hold."""
        try:
            return cls.of(read(path))
        except InputError as error:
            text = str(error)
            raise error if str(path) in text else InputError(f"property {path}: {text}") from error

    @classmethod
    def of(cls, query: Query) -> "Property":
        """Raises InputError for an input without bounds, and for too many combinations."""
        count = math.prod(map(len, query.assertions))
        if count > _MOST:
            raise InputError(f"its disjunctions combine to {count} cases; accepted: up to {_MOST}")
        given = [row for assertion in query.assertions if len(assertion) == 1 for row in assertion[0]]
        choices = [assertion for assertion in query.assertions if len(assertion) > 1]
        common = _Bounds.everything(query.inputs).within(given)
        rest = [row for row in given if not _is_bound(row)]
        clauses: dict[bytes, list[Clause]] = {}
        boxes: dict[bytes, _Bounds] = {}
        for choice in itertools.product(*choices):
            chosen = [row for conjunction in choice for row in conjunction]
            box = common.within(chosen)
            if box.empty:
                continue
            boxes[box.key] = box
            clause = _clause([*rest, *(row for row in chosen if not _is_bound(row))], query)
            clauses.setdefault(box.key, []).append(clause)
        cases = (Case(*box.finite(), tuple(clauses[key])) for key, box in boxes.items())
        return cls(query.inputs, query.outputs, tuple(cases))


@dataclass(frozen=True, eq=False)
class _Bounds:
    lower: Float64[np.ndarray, " inputs"]
    upper: Float64[np.ndarray, " inputs"]

    @classmethod
    def everything(cls, inputs: int) -> "_Bounds":
        return cls(np.full(inputs, -np.inf), np.full(inputs, np.inf))

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
        return _Bounds(lower, upper)

    @property
    def empty(self) -> bool:
        return bool((self.lower > self.upper).any())

    @property
    def key(self) -> bytes:
        return self.lower.tobytes() + self.upper.tobytes()

    def finite(self) -> tuple[np.ndarray, np.ndarray]:
        """Both sides. Raises InputError if one is missing."""
        open_ = ~(np.isfinite(self.lower) & np.isfinite(self.upper))
        if open_.any():
            first = int(open_.argmax())
            raise InputError(
                f"input {first} lies in [{self.lower[first]:g}, {self.upper[first]:g}]; accepted: inputs with a lower "
                "and an upper bound"
            )
        return self.lower, self.upper


def _is_bound(row: Comparison) -> bool:
    return not row.outputs and len(row.inputs) == 1 and 0 not in row.inputs.values()


def _clause(rows: list[Comparison], query: Query) -> Clause:
    """Without rows: 0 <= 0, which always holds."""
    count = max(1, len(rows))
    inputs, outputs = np.zeros((count, query.inputs)), np.zeros((count, query.outputs))
    bound, strict = np.zeros(count), np.zeros(count, dtype=bool)
    for i, row in enumerate(rows):
        for matrix, side in ((inputs, row.inputs), (outputs, row.outputs)):
            for place, weight in side.items():
                matrix[i, place] = weight
        bound[i], strict[i] = row.bound, row.strict
    return Clause(inputs, outputs, bound, strict)
