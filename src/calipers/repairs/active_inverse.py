"""The inverse of the Gram matrix of an active set, kept while rows enter and leave it."""

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve

# Changes until the inverse is computed afresh, so that no error adds up.
_AFRESH = 64


class ActiveInverse:
    """gram: inner products of the active rows with each other, which has to be positive definite."""

    def __init__(self, gram: Float[np.ndarray, "active active"]) -> None:
        self._gram, self._changes = gram, 0
        self._inverse = _inverted(gram)

    def enter(self, products: Float[np.ndarray, " active"], square: float) -> None:
        """One more row: its products with the others and with itself. By the inverse of a bordered matrix."""
        count = len(products)
        gram = np.empty((count + 1, count + 1))
        gram[:count, :count], gram[count, :count], gram[:count, count] = self._gram, products, products
        gram[count, count] = square
        self._gram = gram
        share = self._inverse @ products
        curvature = square - float(products @ share)
        inverse = np.empty_like(gram)
        inverse[:count, :count] = self._inverse + np.outer(share, share / curvature)
        inverse[count, :count] = inverse[:count, count] = -share / curvature
        inverse[count, count] = 1 / curvature
        self._changed(inverse)

    def leave(self, place: int) -> None:
        """One row less."""
        kept = np.arange(len(self._gram)) != place
        column = self._inverse[kept, place]
        inverse = self._inverse[np.ix_(kept, kept)] - np.outer(column, column / self._inverse[place, place])
        self._gram = self._gram[np.ix_(kept, kept)]
        self._changed(inverse)

    def solved(self, right: Float[np.ndarray, " active"]) -> Float[np.ndarray, " active"]:
        """gram^-1 right, with one step of iterative refinement."""
        found = self._inverse @ right
        return found + self._inverse @ (right - self._gram @ found)

    def _changed(self, inverse: np.ndarray) -> None:
        self._changes += 1
        self._inverse = inverse if self._changes % _AFRESH else _inverted(self._gram)


def _inverted(gram: np.ndarray) -> np.ndarray:
    if not len(gram):
        return np.zeros((0, 0))
    return cho_solve(cho_factor(gram, lower=True), np.eye(len(gram)))
