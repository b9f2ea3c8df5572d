"""The least change that fulfils all rows: min 1/2 tr(G S G^T), exactly, by a dual active-set method.

Goldfarb & Idnani, "A numerically stable dual method for solving strictly convex quadratic programs", 1983, written in
inner products of rows alone: <r, q> = (left_r . left_q) (right_r . S^-1 right_q), so that the size of the layer does not
matter. The change is S^-1-weighted: G = sum_r multiplier_r left_r (S^-1 right_r)^T.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve

from calipers.core.tracker import Silent, Tracker
from calipers.repair.metric import Metric
from calipers.repair.rows import Rows

# A row is fulfilled up to this share of the largest requirement.
_TOLERANCE = 1e-10
# A row whose square, less what active rows explain of it, is below this share depends on them.
_DEPENDENT = 1e-11


@dataclass(frozen=True, eq=False)
class Optimum:
    """The least change. active: rows that hold with equality; multiplier: theirs, >= 0. steps: of the active set."""

    change: Float[np.ndarray, "outputs inputs"]
    active: Int[np.ndarray, " active"]
    multiplier: Float[np.ndarray, " active"]
    steps: int


@dataclass(frozen=True, eq=False)
class Clash:
    """No change fulfils these rows together, though it does any of them without one: sum weight_r row_r = 0 with
    weights > 0, and sum weight_r least_r > 0. rows: their numbers.
    """

    rows: Int[np.ndarray, " rows"]
    weight: Float[np.ndarray, " rows"]


def least_change(
    rows: Rows, metric: Metric, start: Optimum | None = None, tracker: Tracker | None = None
) -> Optimum | Clash:
    """Minimise tr(G S G^T) subject to the rows, or say which of them clash.

    start: of the first so many of the same rows, to which others were added since.
    """
    right = metric.whitened(rows.right)

    def gram(of: np.ndarray) -> np.ndarray:
        return (rows.left[of] @ rows.left.T) * (right[of] @ right.T)

    search = _ActiveSet(
        rows.least, gram, np.einsum("ro,ro->r", rows.left, rows.left) * np.einsum("ri,ri->r", right, right)
    )
    ended = search.run(start, tracker or Silent())
    if isinstance(ended, Clash):
        return ended
    active, multiplier = ended
    change = metric.unwhitened((multiplier[:, None] * rows.left[active]).T @ right[active])
    return Optimum(change, active, multiplier, search.steps)


class _ActiveSet:
    """One search; thrown away at its end."""

    def __init__(self, least: np.ndarray, gram: Callable[[np.ndarray], np.ndarray], square: np.ndarray) -> None:
        self._least, self._gram, self._square = least, gram, square
        self._active = np.zeros(0, dtype=np.int64)
        self._multiplier = np.zeros(0)
        self._products = np.zeros((0, len(least)))  # of active rows with all
        self.steps = 0

    def run(self, start: Optimum | None, tracker: Tracker) -> tuple[np.ndarray, np.ndarray] | Clash:
        if start is not None:
            self._begin(start)
        enough = _TOLERANCE * max(1e-300, float(np.abs(self._least).max(initial=0.0)))
        # A row of zeros cannot be changed.
        length = np.sqrt(np.maximum(self._square, 1e-300))
        while len(self._least):
            missing = self._least - self._multiplier @ self._products
            missing[self._active] = 0.0
            # The row that is furthest away, as a plane is.
            worst = int(np.where(missing > enough, missing / length, -1.0).argmax())
            if missing[worst] <= enough:
                break
            clash = self._enter(worst, float(missing[worst]))
            if clash is not None:
                return clash
            tracker.advance("active rows", len(self._active))
        order = np.argsort(self._active)
        return self._active[order], self._multiplier[order]

    def _begin(self, start: Optimum) -> None:
        """The optimum of fewer rows is feasible in the dual."""
        self._active, self._multiplier = start.active.copy(), start.multiplier.copy()
        self._products = self._gram(self._active)

    def _enter(self, row: int, missing: float) -> Clash | None:
        """Raise the multiplier of one row until it holds; rows whose multiplier falls to 0 leave."""
        products, own, raised = self._gram(np.array([row]))[0], float(self._square[row]), 0.0
        while True:
            self.steps += 1
            share = self._solved(products[self._active])
            curvature = own - float(products[self._active] @ share)
            depends = curvature <= _DEPENDENT * own
            falling = share > 0
            room = np.full(len(share), np.inf)
            room[falling] = self._multiplier[falling] / share[falling]
            leaving = int(room.argmin()) if len(room) else -1
            step = np.inf if depends else missing / curvature
            if leaving >= 0 and room[leaving] < step:
                step = float(room[leaving])
            elif depends:
                weight = np.append(-share, 1.0)
                part = weight > 1e-9 * weight.max()
                return Clash(np.append(self._active, row)[part], weight[part])
            else:
                leaving = -1
            self._multiplier = self._multiplier - step * share
            raised += step
            missing -= step * curvature
            if leaving < 0:
                self._active = np.append(self._active, row)
                self._products = np.vstack([self._products, products])
                # Afresh, so that no error adds up over the steps.
                self._multiplier = self._refreshed(np.append(self._multiplier, raised))
                return None
            self._leave(leaving)

    def _leave(self, place: int) -> None:
        self._active = np.delete(self._active, place)
        self._multiplier = np.delete(self._multiplier, place)
        self._products = np.delete(self._products, place, axis=0)

    def _refreshed(self, multiplier: np.ndarray) -> np.ndarray:
        exact = self._solved(self._least[self._active])
        return np.where(exact > 0, exact, np.maximum(multiplier, 0.0))

    def _solved(self, right: np.ndarray) -> np.ndarray:
        if not len(self._active):
            return np.zeros(0)
        return cho_solve(cho_factor(self._products[:, self._active], lower=True), right)
