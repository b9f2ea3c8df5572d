"""Objectives that change few weights: the sum of absolute values, and the elastic net."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize

from calipers.core.errors import CalipersError, InputError
from calipers.core.tracker import Tracker
from calipers.repair.metric import Metric
from calipers.repair.quadratic import Clash, Optimum, least_change
from calipers.repair.rows import Rows
from calipers.solve.columns import Goal, least_absolute

# Prices of a shortage that are tried: an optimum without one is that of the hard rows.
_PRICES = (1e2, 1e4, 1e6, 1e8)
# A shortage below this share of the largest requirement is rounding.
_NONE = 1e-7


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

    Its dual is smooth but for signs: L-BFGS-B (Byrd et al. 1995) on the multipliers.
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
        matrix = _Products(rows)
        # Asked for a little more than needed, as the multipliers are found only nearly.
        least = rows.least + 1e-5 * float(np.abs(rows.least).max(initial=0.0))

        def change_at(multiplier: np.ndarray) -> np.ndarray:
            pulled = matrix.prices(multiplier)
            return np.sign(pulled) * np.maximum(np.abs(pulled) - self.share, 0.0) / (1 - self.share)

        def dual(multiplier: np.ndarray) -> tuple[float, np.ndarray]:
            change = change_at(multiplier)
            value = (1 - self.share) / 2 * float(change @ change) - float(least @ multiplier)
            shaped = change.reshape(rows.left.shape[1], rows.right.shape[1])
            return value, rows.at(shaped) - least

        first = np.zeros(len(rows))
        if start is not None:
            first[start.active] = start.multiplier
        ended = minimize(
            dual,
            first,
            jac=True,
            method="L-BFGS-B",
            bounds=[(0.0, None)] * len(rows),
            options={
                "maxiter": 20_000,
                "maxfun": 40_000,
                "ftol": 1e-15,
                "gtol": 1e-7 * float(np.abs(least).max()),
                "maxcor": 30,
            },
        )
        change = change_at(ended.x).reshape(rows.left.shape[1], rows.right.shape[1])
        short = float(rows.missing(change).max(initial=0.0))
        if short > 1e-4 * float(np.abs(rows.least).max()):
            raise CalipersError(
                f"repair: L-BFGS-B left rows short by {short:g} ({ended.message}); accepted: objective l1"
            )
        active = np.flatnonzero(ended.x > 0)
        return Optimum(change, active, ended.x[active], int(ended.nit))


def _clash(rows: Rows, tracker: Tracker) -> Clash | None:
    """Rows that no change fulfils, whatever its size."""
    found = least_change(rows, Metric(np.eye(rows.right.shape[1])), None, tracker)
    return found if isinstance(found, Clash) else None
