"""Mixed-integer linear programs: variables in intervals, and sparse rows between affine functions of them."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array, vstack


@dataclass(frozen=True, eq=False)
class Expression:
    """Affine functions matrix @ variables + constant, one per entry of a flat value.

    matrix: (entries, variables so far); variables that come later have no part in it.
    """

    matrix: csr_array
    constant: np.ndarray

    @classmethod
    def fixed(cls, constant: np.ndarray) -> "Expression":
        """Entries that are numbers."""
        return cls(csr_array((len(constant), 0)), constant)

    def __len__(self) -> int:
        return len(self.constant)

    def __getitem__(self, index: np.ndarray) -> "Expression":
        return Expression(self.matrix[index], self.constant[index])

    def __add__(self, other: "Expression") -> "Expression":
        count = max(self.matrix.shape[1], other.matrix.shape[1])
        return Expression(widen(self.matrix, count) + widen(other.matrix, count), self.constant + other.constant)

    def __sub__(self, other: "Expression") -> "Expression":
        return self + Expression(-other.matrix, -other.constant)

    def mixed(self, weight: csr_array) -> "Expression":
        """The entries of weight @ self."""
        return Expression(csr_array(weight @ self.matrix), weight @ self.constant)

    def row(self, weight: np.ndarray, shift: float) -> "Expression":
        """The one entry <weight, self> + shift."""
        return self.mixed(csr_array(weight[None])) + Expression.fixed(np.full(1, shift))

    def joined(self, other: "Expression") -> "Expression":
        """The entries of both, one after the other."""
        count = max(self.matrix.shape[1], other.matrix.shape[1])
        both = vstack([widen(self.matrix, count), widen(other.matrix, count)], format="csr")
        return Expression(both, np.concatenate([self.constant, other.constant]))

    def at(self, variables: np.ndarray) -> np.ndarray:
        """The values at a point."""
        return self.matrix @ variables[: self.matrix.shape[1]] + self.constant


@dataclass(frozen=True, eq=False)
class Program:
    """lower <= variables <= upper, some of them integers, and row_lower <= rows @ variables <= row_upper."""

    lower: np.ndarray
    upper: np.ndarray
    integer: np.ndarray
    rows: csr_array
    row_lower: np.ndarray
    row_upper: np.ndarray


class Draft:
    """Collects variables and rows; thrown away once the program is made."""

    def __init__(self) -> None:
        self._columns: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._rows: list[tuple[csr_array, np.ndarray, np.ndarray]] = []

    @property
    def count(self) -> int:
        """Variables so far."""
        return sum(len(lower) for lower, *_ in self._columns)

    def variables(self, lower: np.ndarray, upper: np.ndarray, *, integer: bool = False) -> Expression:
        """New variables between two sides."""
        first, size = self.count, len(lower)
        self._columns.append((lower, upper, np.full(size, integer)))
        ones = (np.ones(size), (np.arange(size), first + np.arange(size)))
        return Expression(csr_array(ones, shape=(size, first + size)), np.zeros(size))

    def require(self, expression: Expression, lower: float, upper: float) -> None:
        """Keep lower <= expression <= upper, entry by entry."""
        self._rows.append((expression.matrix, lower - expression.constant, upper - expression.constant))

    def program(self) -> Program:
        """All that was collected."""
        nothing = np.zeros(0)
        lower, upper, integer = (
            np.concatenate(part) for part in zip((nothing, nothing, nothing > 0), *self._columns, strict=True)
        )
        empty = (csr_array((0, len(lower))), nothing, nothing)
        rows, row_lower, row_upper = zip(empty, *self._rows, strict=True)
        matrix = vstack([widen(part, len(lower)) for part in rows], format="csr")
        return Program(lower, upper, integer, matrix, np.concatenate(row_lower), np.concatenate(row_upper))


def widen(matrix: csr_array, count: int) -> csr_array:
    """The same rows over more variables."""
    return csr_array((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], count))
