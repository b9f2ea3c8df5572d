"""Proximal operators of sums of phi(u_i) with phi(u) = [u != 0], |u|^(2/3) and |u|^(1/2): closed forms."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.core.norms import flat, per_sample


@dataclass(frozen=True)
class L0Prox:
    """Hard threshold: values up to sqrt(2 mu) become 0 (thesis, equation 5.14)."""

    convex: ClassVar[bool] = False

    def value(self, u: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
        return flat(u != 0).sum(-1).to(u.dtype)

    def __call__(self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"]) -> Float[Tensor, "batch *shape"]:
        return _hard(u, per_sample(mu, u))

    def in_metric(
        self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"], psi: Float[Tensor, "batch *shape"]
    ) -> Float[Tensor, "batch *shape"]:
        return _hard(u, per_sample(mu, u) / psi)


@dataclass(frozen=True)
class TwoThirdsProx:
    """The largest root y^3 of y^4 - |u| y + 2 mu / 3 = 0, or 0 (Cao, Sun & Xu 2013, theorem 1)."""

    convex: ClassVar[bool] = False

    def value(self, u: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
        return flat(u.abs() ** (2 / 3)).sum(-1)

    def __call__(self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"]) -> Float[Tensor, "batch *shape"]:
        return _rescaled(u, per_sample(mu, u), 3 / 4, 2 / 3 * 24**0.25, _two_thirds)

    def in_metric(
        self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"], psi: Float[Tensor, "batch *shape"]
    ) -> Float[Tensor, "batch *shape"]:
        return _rescaled(u, per_sample(mu, u) / psi, 3 / 4, 2 / 3 * 24**0.25, _two_thirds)


@dataclass(frozen=True)
class HalfProx:
    """Half threshold (Xu, Chang, Xu & Zhang 2012, theorem 1)."""

    convex: ClassVar[bool] = False

    def value(self, u: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
        return flat(u.abs().sqrt()).sum(-1)

    def __call__(self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"]) -> Float[Tensor, "batch *shape"]:
        return _rescaled(u, per_sample(mu, u), 2 / 3, 3 / 2, _half)

    def in_metric(
        self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"], psi: Float[Tensor, "batch *shape"]
    ) -> Float[Tensor, "batch *shape"]:
        return _rescaled(u, per_sample(mu, u) / psi, 2 / 3, 3 / 2, _half)


def _hard(u: Tensor, mu: Tensor) -> Tensor:
    return torch.where(u.abs() > math.sqrt(2) * mu.sqrt(), u, torch.zeros_like(u))


def _rescaled(u: Tensor, mu: Tensor, power: float, least: float, root: Callable[[Tensor], Tensor]) -> Tensor:
    """The operator from its form at mu = 1: u = mu^power v, where v up to `least` becomes 0 and others root(v).

    mu broadcasts over u.
    """
    size = mu**power
    v = u.abs() / size
    # Beyond `far` the operator moves a value by less than the rounding of the value, and squares could overflow.
    far = torch.finfo(u.dtype).eps ** -0.75
    moved = (size * root(v.clamp(least, far))).copysign(u)
    return torch.where(v > far, u, torch.where(v > least, moved, torch.zeros_like(u)))


def _two_thirds(v: Tensor) -> Tensor:
    # With w = arccosh(height), cosh(w / 3) is the mean of e^(w / 3) and its inverse: no arccosh, which is slow.
    height = 27 / 16 * 2**-1.5 * v.square()
    third = (height + (height.square() - 1).sqrt()) ** (1 / 3)
    a = math.sqrt(2 / 3) * 2**0.25 * (third + third.reciprocal()).sqrt()
    return ((a + (2 * v / a - a.square()).sqrt()) / 2) ** 3


def _half(v: Tensor) -> Tensor:
    angle = torch.arccos((v / 3) ** -1.5 / 4)
    return 2 / 3 * v * (1 + torch.cos(2 / 3 * (math.pi - angle)))
