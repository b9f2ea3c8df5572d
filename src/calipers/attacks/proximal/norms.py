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
        return _level(u, l1_threshold(flat(u).abs(), mu))

    def in_metric(
        self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"], psi: Float[Tensor, "batch *shape"]
    ) -> Float[Tensor, "batch *shape"]:
        return _level(u, l1_threshold(flat(u).abs(), mu, flat(psi)))


@dataclass(frozen=True)
class L2Prox:
    """Block soft threshold: (1 - mu / ||u||)+ u."""

    convex: ClassVar[bool] = True

    def value(self, u: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
        return Norm.L2(flat(u))

    def __call__(self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"]) -> Float[Tensor, "batch *shape"]:
        length = self.value(u).clamp_min(torch.finfo(u.dtype).tiny)
        return u * per_sample((1 - mu / length).clamp_min(0), u)

    def in_metric(
        self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"], psi: Float[Tensor, "batch *shape"]
    ) -> Float[Tensor, "batch *shape"]:
        """Z = psi u / (psi + mu / q) for the length q of z: a root of ||u / (q + mu / psi)|| = 1, found by Newton.

        The inverse of the left side is concave in q, so the steps from below never pass the root.
        """
        v, ratio = flat(u), mu[:, None] / flat(psi)
        pull = Norm.L2(v * flat(psi))
        length = (pull - mu) / flat(psi).amax(1)
        kept = length > 0
        length = length.clamp_min(0)
        moving = kept
        tiny = torch.finfo(u.dtype).tiny
        while bool(moving.any()):
            scaled = v / (length[:, None] + ratio).clamp_min(tiny)
            size = Norm.L2(scaled)
            slope = (scaled.square() / (length[:, None] + ratio).clamp_min(tiny)).sum(1)
            step = size.square() * (size - 1) / slope.clamp_min(tiny)
            moving = moving & (step > 4 * torch.finfo(u.dtype).eps * length)
            length = torch.where(moving, length + step, length)
        z = v * per_sample(length, v) / (length[:, None] + ratio).clamp_min(tiny)
        return torch.where(per_sample(kept, v), z, torch.zeros_like(v)).reshape(u.shape)


@dataclass(frozen=True)
class L1Prox:
    """Soft threshold."""

    convex: ClassVar[bool] = True

    def value(self, u: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
        return Norm.L1(flat(u))

    def __call__(self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"]) -> Float[Tensor, "batch *shape"]:
        return soft(u, per_sample(mu, u))

    def in_metric(
        self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"], psi: Float[Tensor, "batch *shape"]
    ) -> Float[Tensor, "batch *shape"]:
        return soft(u, per_sample(mu, u) / psi)


def _level(u: Tensor, level: Tensor) -> Tensor:
    level = per_sample(level[:, 0], u)
    return torch.minimum(torch.maximum(u, -level), level)
