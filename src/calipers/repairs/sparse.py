"""Objectives that change few weights: the sum of absolute values, and the elastic net."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize

from calipers.core.errors import CalipersError, InputError
from calipers.core.tracker import Tracker
from calipers.repairs.metric import Metric
from calipers.repairs.quadratic import Clash, Optimum, least_change
from calipers.repairs.rows import Rows
from calipers.solve.columns import Goal, least_absolute

# Prices of a shortage that are tried: an optimum without one is that of the hard rows.
_PRICES = (1e2, 1e4, 1e6, 1e8)
# A shortage below this share of the largest requirement is rounding.
_NONE = 1e-7
_RESTARTS = 30
# Between a change and what its multipliers prove, as a share of its size.
_GAP = 1e-4


@dataclass(frozen=True, eq=False)
class _Products:
    """The matrix of a programme over the weights, a column for each: left x right, row by row."""

    rows: Rows

    def prices(self, dual: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " weights"]:
        """See `solve.columns.Columns`."""
        return ((self.rows.left * dual[:, None]).T @ self.rows.right).ravel()

    def taken(self, index: Int[np.ndarray, " some"]) -> Float[np.ndarray, "rows some"]:
        """See `solve.columns.Columns`."""
        output, feature = np.divmod(index, self.rows.right.shape[1])
        return self.rows.left[:, output] * self.rows.right[:, feature]


@dataclass(frozen=True)
class LeastAbsolute:
    """The sum of |G|: few weights change, each by much."""

    name: str = "l1"

    def least_change(self, rows: Rows, start: Optimum | None, tracker: Tracker) -> Optimum | Clash:
        """See `Objective`."""
        clash = _clash(rows, tracker)
        if clash is not None:
            return clash
        enough = _NONE * float(np.abs(rows.least).max(initial=0.0))
        for price in _PRICES:
            goal = Goal(rows.least, np.full(len(rows), price), np.zeros(len(rows)))
            found = least_absolute(_Products(rows), goal, tracker)
            if found.shortage.max(initial=0.0) <= enough:
                change = np.zeros(rows.left.shape[1] * rows.right.shape[1])
                change[found.index] = found.value
                active = np.flatnonzero(found.dual > 0)
                shape = (rows.left.shape[1], rows.right.shape[1])
                return Optimum(change.reshape(shape), active, found.dual[active], found.rounds)
        raise CalipersError(f"repair: rows are short by {found.shortage.max():g} at a price of {price:g} a unit")


@dataclass(frozen=True)
class Elastic:
    """share * sum |G| + (1 - share) / 2 * sum G^2: between few weights and small ones.

    Its dual is smooth but for signs: L-BFGS-B (Byrd et al. 1995) on the multipliers. The nearer share is to 1, the
    worse is its condition.
    """

    share: float = 0.5
    name: str = "elastic"

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise InputError(f"repair: the share of l1 is {self.share:g}; accepted: 0 <= share < 1, or objective l1")

    def least_change(self, rows: Rows, start: Optimum | None, tracker: Tracker) -> Optimum | Clash:
        """See `Objective`."""
        clash = _clash(rows, tracker)
        if clash is not None:
            return clash
        # Rows of length 1: their multipliers are of one size.
        length = np.sqrt(np.square(rows.left).sum(1) * np.square(rows.right).sum(1))
        scaled = Rows(rows.left / length[:, None], rows.right, rows.least / length, rows.sample)
        first = np.zeros(len(rows))
        if start is not None:
            first[start.active] = start.multiplier * length[start.active]
        multiplier, steps = _ascended(scaled, self.share, first)
        change = _change_at(scaled, self.share, multiplier)
        short = float(rows.missing(change).max(initial=0.0))
        if short > 1e-4 * float(np.abs(rows.least).max()):
            raise CalipersError(
                f"repair: L-BFGS-B left rows short by {short:g}; accepted: objective l1, or a lower share"
            )
        active = np.flatnonzero(multiplier > 0)
        return Optimum(change, active, (multiplier / length)[active], steps)


def _change_at(rows: Rows, share: float, multiplier: np.ndarray) -> np.ndarray:
    """The change that multipliers pull to: soft-thresholded."""
    pulled = _Products(rows).prices(multiplier)
    change = np.sign(pulled) * np.maximum(np.abs(pulled) - share, 0.0) / (1 - share)
    return change.reshape(rows.left.shape[1], rows.right.shape[1])


def _ascended(rows: Rows, share: float, first: np.ndarray) -> tuple[np.ndarray, int]:
    """Multipliers that nearly maximise the dual, and the steps that it took."""
    largest = float(np.abs(rows.least).max(initial=0.0))
    # Asked for a little more than needed, as the multipliers are found only nearly.
    least = rows.least + 1e-5 * largest

    def dual(multiplier: np.ndarray) -> tuple[float, np.ndarray]:
        change = _change_at(rows, share, multiplier)
        value = (1 - share) / 2 * float(np.square(change).sum()) - float(least @ multiplier)
        return value, rows.at(change) - least

    multiplier, steps = first, 0
    options = {"maxiter": 5_000, "maxfun": 10_000, "ftol": 0.0, "gtol": 1e-8 * largest, "maxcor": 50}
    for _ in range(_RESTARTS):
        # What it remembers of the curvature misleads it where another sign of a weight changed: it starts afresh.
        ended = minimize(
            dual, multiplier, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * len(first), options=options
        )
        multiplier, steps = ended.x, steps + int(ended.nit)
        change = _change_at(rows, share, multiplier)
        size = share * float(np.abs(change).sum()) + (1 - share) / 2 * float(np.square(change).sum())
        gap = size + float(ended.fun)
        if float(rows.missing(change).max(initial=0.0)) <= 0 and gap <= _GAP * size:
            break
    return multiplier, steps


def _clash(rows: Rows, tracker: Tracker) -> Clash | None:
    """Rows that no change fulfils, whatever its size."""
    found = least_change(rows, Metric(np.eye(rows.right.shape[1])), None, tracker)
    return found if isinstance(found, Clash) else None
