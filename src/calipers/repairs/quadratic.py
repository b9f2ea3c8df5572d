"""The least change that fulfils all rows: min 1/2 tr(G S G^T), exactly, by a dual active-set method.

Goldfarb & Idnani, "A numerically stable dual method for solving strictly convex quadratic programs", 1983, written in
inner products of rows alone: <r, q> = (left_r . left_q) (right_r . S^-1 right_q), so that the size of the layer does
not matter. The change is S^-1-weighted: G = sum_r multiplier_r left_r (S^-1 right_r)^T.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from calipers.core.tracker import Silent, Tracker
from calipers.repairs.active_inverse import ActiveInverse
from calipers.repairs.metric import Metric
from calipers.repairs.rows import Rows

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
        self._active: list[int] = []
        self._multiplier = np.zeros(0)
        # Of active rows with all, in the order of `_active`; the rows beyond are room to grow.
        self._table = np.zeros((64, len(least)))
        self._inverse = ActiveInverse(np.zeros((0, 0)))
        # By how much every row is missed.
        self._missing = least.copy()
        self.steps = 0

    def run(self, start: Optimum | None, tracker: Tracker) -> tuple[np.ndarray, np.ndarray] | Clash:
        if start is not None:
            self._begin(start)
        enough = _TOLERANCE * max(1e-300, float(np.abs(self._least).max(initial=0.0)))
        # A row of zeros cannot be changed.
        length = np.sqrt(np.maximum(self._square, 1e-300))
        fresh = True
        while len(self._least):
            self._missing[self._active] = 0.0
            # The row that is furthest away, as a plane is.
            worst = int(np.where(self._missing > enough, self._missing / length, -1.0).argmax())
            if self._missing[worst] <= enough:
                if fresh:
                    break
                self._refresh()
                fresh = True
                continue
            fresh = False
            clash = self._enter(worst)
            if clash is not None:
                return clash
            tracker.advance("active rows", len(self._active))
        order = np.argsort(self._active)
        return np.array(self._active, dtype=np.int64)[order], self._multiplier[order]

    def _begin(self, start: Optimum) -> None:
        """The optimum of fewer rows is feasible in the dual."""
        self._active = start.active.tolist()
        products = self._gram(start.active)
        self._table = np.concatenate([products, np.zeros((64, products.shape[1]))])
        self._inverse = ActiveInverse(products[:, start.active])
        self._multiplier = start.multiplier.copy()
        self._refresh()

    def _refresh(self) -> None:
        """What is missed, from the multipliers alone: no error of the steps is left in it."""
        exact = self._inverse.solved(self._least[self._active])
        self._multiplier = np.where(exact > 0, exact, np.maximum(self._multiplier, 0.0))
        self._missing = self._least - self._multiplier @ self._products

    def _enter(self, row: int) -> Clash | None:
        """Raise the multiplier of one row until it holds; rows whose multiplier falls to 0 leave."""
        products, own, raised = self._gram(np.array([row]))[0], float(self._square[row]), 0.0
        missing = float(self._missing[row])
        while True:
            self.steps += 1
            share = self._inverse.solved(products[self._active])
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
                return Clash(np.append(np.array(self._active, dtype=np.int64), row)[part], weight[part])
            else:
                leaving = -1
            self._multiplier = self._multiplier - step * share
            raised += step
            missing -= step * curvature
            self._missing += step * (share @ self._products - products)
            if leaving < 0:
                self._inverse.enter(products[self._active], own)
                self._append(row, products, raised)
                return None
            self._inverse.leave(leaving)
            self._table[leaving : len(self._active) - 1] = self._table[leaving + 1 : len(self._active)]
            self._active.pop(leaving)
            self._multiplier = np.delete(self._multiplier, leaving)

    @property
    def _products(self) -> np.ndarray:
        return self._table[: len(self._active)]

    def _append(self, row: int, products: np.ndarray, multiplier: float) -> None:
        if len(self._active) == len(self._table):
            self._table = np.concatenate([self._table, np.zeros_like(self._table)])
        self._table[len(self._active)] = products
        self._active.append(row)
        self._multiplier = np.append(self._multiplier, multiplier)
