"""Norms of perturbations, measured per sample."""

import math
from enum import StrEnum

from jaxtyping import Float, Shaped
from torch import Tensor


class Norm(StrEnum):
    """The norm of a perturbation. `dual` is the norm that linear functionals over its ball take."""

    LINF = "linf"
    L2 = "l2"
    L1 = "l1"

    @property
    def dual(self) -> "Norm":
        return {Norm.LINF: Norm.L1, Norm.L2: Norm.L2, Norm.L1: Norm.LINF}[self]

    def __call__(self, vectors: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """The norm over the last dimension."""
        if self is Norm.LINF:
            return vectors.abs().amax(-1)
        return vectors.norm(p=2 if self is Norm.L2 else 1, dim=-1)


def flat(x: Tensor) -> Tensor:
    """(batch, *shape) -> (batch, values), of no samples too."""
    return x.reshape(len(x), math.prod(x.shape[1:]))


def per_sample(values: Shaped[Tensor, " batch"], like: Tensor) -> Tensor:
    """Reshape (batch,) so that it broadcasts over `like` of shape (batch, *shape)."""
    return values.reshape(-1, *([1] * (like.dim() - 1)))
