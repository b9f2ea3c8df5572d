"""How large a change is: by what it does to the outputs on clean data, or as a matrix."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import solve_triangular

from calipers.core.errors import InputError


@dataclass(frozen=True, eq=False)
class Metric:
    """The size tr(G S G^T) of a change G, with S = factor factor^T (inputs, inputs), positive definite.

    With S the second moment of clean features it is the mean square of what the change adds to all outputs there: the
    Mahalanobis objective. With S the identity it is the square of the Frobenius norm.
    """

    factor: Float[np.ndarray, "inputs inputs"]

    @classmethod
    def of(cls, features: Float[np.ndarray, "samples inputs"], ridge: float = 1e-2) -> "Metric":
        """S = second moment + ridge * its mean diagonal * I: a ridge of infinity is the identity.

        Raises InputError for a ridge that is not positive and for features that are all 0 or not finite.
        """
        if not ridge > 0:
            raise InputError(f"repair: ridge {ridge:g}; accepted: a positive number, or inf")
        inputs = features.shape[1]
        if np.isinf(ridge):
            return cls(np.eye(inputs))
        moment = features.T @ features / max(1, len(features))
        mean = float(np.trace(moment)) / inputs
        if not 0 < mean < np.inf:
            raise InputError(f"repair: the clean features have a mean square of {mean:g}; accepted: a positive number")
        moment[np.diag_indices(inputs)] += ridge * mean
        return cls(np.linalg.cholesky(moment))

    def whitened(self, right: Float[np.ndarray, "rows inputs"]) -> Float[np.ndarray, "rows inputs"]:
        """Factor^-1 right, row by row: inner products there are those of S^-1."""
        return solve_triangular(self.factor, right.T, lower=True, check_finite=False).T

    def unwhitened(self, change: Float[np.ndarray, "outputs inputs"]) -> Float[np.ndarray, "outputs inputs"]:
        """The change G with G factor = `change`."""
        return solve_triangular(self.factor, change.T, lower=True, trans="T", check_finite=False).T

    def size(self, change: Float[np.ndarray, "outputs inputs"]) -> float:
        """tr(G S G^T)."""
        return float(np.square(change @ self.factor).sum())
