"""Proximal operators of the norms linf, l2 and l1 (thesis, equations 5.11 to 5.13)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.core.norms import Norm, flat, per_sample
from calipers.core.projections import l1_threshold


def soft(u: Tensor, mu: Tensor) -> Tensor:
    """sign(u) (|u| - mu)+ value by value; mu broadcasts. The thesis leaves out the magnitude in (5.13)."""
    return (u.abs() - mu).clamp_min(0).copysign(u)


@dataclass(frozen=True)
class LinfProx:
    """u minus its projection on the l1 ball of radius mu (Moreau). What is left is u clipped at one level."""

    convex: ClassVar[bool] = True

    def value(self, u: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
        return Norm.LINF(flat(u))

    def __call__(self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"]) -> Float[Tensor, "batch *shape"]:
        level = per_sample(l1_threshold(flat(u).abs(), mu)[:, 0], u)
        return torch.minimum(torch.maximum(u, -level), level)


@dataclass(frozen=True)
class L2Prox:
    """Block soft threshold: (1 - mu / ||u||)+ u."""

    convex: ClassVar[bool] = True

    def value(self, u: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
        return Norm.L2(flat(u))

    def __call__(self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"]) -> Float[Tensor, "batch *shape"]:
        length = self.value(u).clamp_min(torch.finfo(u.dtype).tiny)
        return u * per_sample((1 - mu / length).clamp_min(0), u)


@dataclass(frozen=True)
class L1Prox:
    """Soft threshold."""

    convex: ClassVar[bool] = True

    def value(self, u: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
        return Norm.L1(flat(u))

    def __call__(self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"]) -> Float[Tensor, "batch *shape"]:
        return soft(u, per_sample(mu, u))
