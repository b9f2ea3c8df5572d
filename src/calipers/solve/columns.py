"""Linear programs with very many columns that all cost their absolute value, by column generation.

Gilmore & Gomory 1961: a program over few columns is solved; its duals price all others; those that would gain enter.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import highspy
import numpy as np
from highspy import HighsModelStatus
from jaxtyping import Float, Int

from calipers.core.errors import CalipersError
from calipers.core.tracker import Silent, Tracker
from calipers.solve.highs import TOLERANCE, checked, solver

# Columns that enter at once.
_ENTER = 200
# A column gains where its price exceeds its cost by this share.
_GAIN = 1e-9


@runtime_checkable
class Columns(Protocol):
    """A matrix of which columns are made when they are needed."""

    def prices(self, dual: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " columns"]:
        """The products of all columns with a vector."""

    def taken(self, index: Int[np.ndarray, " some"]) -> Float[np.ndarray, "rows some"]:
        """These columns."""


@dataclass(frozen=True, eq=False)
class Dense:
    """A matrix as it is."""

    matrix: Float[np.ndarray, "rows columns"]

    def prices(self, dual: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " columns"]:
        """See `Columns`."""
        return dual @ self.matrix

    def taken(self, index: Int[np.ndarray, " some"]) -> Float[np.ndarray, "rows some"]:
        """See `Columns`."""
        return self.matrix[:, index]


@dataclass(frozen=True, eq=False)
class Goal:
    """Rows columns @ x + shortage - surplus = wanted; what a unit of shortage and surplus cost, row by row."""

    wanted: Float[np.ndarray, " rows"]
    shortage: Float[np.ndarray, " rows"]
    surplus: Float[np.ndarray, " rows"]


@dataclass(frozen=True, eq=False)
class Sparse:
    """An optimum. index, value: of columns that are used. dual: of the rows. entered: columns of the last program."""

    index: Int[np.ndarray, " used"]
    value: Float[np.ndarray, " used"]
    shortage: Float[np.ndarray, " rows"]
    dual: Float[np.ndarray, " rows"]
    objective: float
    entered: int
    rounds: int


def least_absolute(columns: Columns, goal: Goal, tracker: Tracker | None = None) -> Sparse:
    """Minimise sum |x_j| + <goal.shortage, shortage> + <goal.surplus, surplus> over x, shortage >= 0, surplus >= 0.

    The same optimum as that of the program with all columns, up to HiGHS's tolerances. Raises ValueError for numbers
    that HiGHS refuses, and CalipersError, with HiGHS's status, where it ends without an optimum.
    """
    tracker = tracker or Silent()
    highs = _empty(goal)
    entered = np.zeros(0, dtype=np.int64)
    rounds = 0
    while True:
        _run(highs)
        rounds += 1
        dual = np.array(highs.getSolution().row_dual)
        prices = columns.prices(dual)
        gain = np.abs(prices) - 1
        gain[entered] = 0.0
        best = np.argsort(-gain, kind="stable")[:_ENTER]
        best = best[gain[best] > _GAIN]
        if not len(best):
            return _found(highs, entered, dual, rounds)
        tracker.advance(f"columns, round {rounds}", len(entered))
        _enter(highs, columns.taken(best))
        entered = np.append(entered, best)


def _empty(goal: Goal) -> highspy.Highs:
    """The program without columns: shortage and surplus of every row."""
    highs = solver({"primal_feasibility_tolerance": TOLERANCE, "dual_feasibility_tolerance": TOLERANCE})
    count = len(goal.wanted)
    none: np.ndarray = np.zeros(0)
    checked(
        highs.addRows(count, goal.wanted, goal.wanted, 0, np.zeros(count, np.int32), np.zeros(0, np.int32), none),
        "the rows",
    )
    for cost, sign in ((goal.shortage, 1.0), (goal.surplus, -1.0)):
        starts = np.arange(count, dtype=np.int32)
        values = np.full(count, sign)
        bounds = np.zeros(count), np.full(count, highspy.kHighsInf)
        checked(highs.addCols(count, cost, *bounds, count, starts, starts, values), "shortage and surplus")
    return highs


def _enter(highs: highspy.Highs, matrix: np.ndarray) -> None:
    """Add every column twice: what it adds and what it takes away."""
    rows, count = matrix.shape
    both = np.stack([matrix.T, -matrix.T], axis=1).reshape(2 * count, rows)
    starts = np.arange(2 * count, dtype=np.int32) * rows
    index = np.tile(np.arange(rows, dtype=np.int32), 2 * count)
    bounds = np.zeros(2 * count), np.full(2 * count, highspy.kHighsInf)
    checked(highs.addCols(2 * count, np.ones(2 * count), *bounds, both.size, starts, index, both.ravel()), "columns")


def _run(highs: highspy.Highs) -> None:
    checked(highs.run(), "to run")
    status = highs.getModelStatus()
    if status != HighsModelStatus.kOptimal:
        raise CalipersError(f"HiGHS ended with {highs.modelStatusToString(status)} instead of an optimum")


def _found(highs: highspy.Highs, entered: np.ndarray, dual: np.ndarray, rounds: int) -> Sparse:
    variables = np.array(highs.getSolution().col_value)
    count = len(dual)
    parts = variables[2 * count :].reshape(-1, 2)
    value = parts[:, 0] - parts[:, 1]
    used = value != 0
    objective = highs.getInfo().objective_function_value
    return Sparse(entered[used], value[used], variables[:count], dual, objective, len(entered), rounds)
