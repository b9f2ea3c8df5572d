"""Families of planes to optimise over: every member is sound, so any search may pick among them."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from calipers.bounds import capm, crown, maxlin
from calipers.bounds.relaxation import Relaxation
from calipers.bounds.window import Windows
from calipers.core.intervals import IntervalBounds
from calipers.graph import ops


@runtime_checkable
class Planes(Protocol):
    """A family of relaxations of one nonlinearity; `variables` say which member is meant."""

    @property
    def variables(self) -> list[Tensor]:
        """Leaf tensors that take gradients; every point that `project` leaves is sound."""

    def relaxation(self) -> Relaxation: ...

    def project(self) -> None:
        """Move the variables back to where they are sound."""


@dataclass(frozen=True, eq=False)
class ReluPlanes:
    """The chord above; below alpha z, 0 <= alpha <= 1, where the neuron is unstable (alpha-CROWN, Xu et al. 2021)."""

    alpha: Float[Tensor, "batch *shape"]
    unstable: Bool[Tensor, "batch *shape"]
    base: Relaxation

    @classmethod
    def of(cls, bounds: IntervalBounds) -> "ReluPlanes":
        base = crown.relax_relu(bounds)
        unstable = (bounds.lower < 0) & (bounds.upper > 0)
        return cls(base.lower_slope.clone().requires_grad_(True), unstable, base)

    @property
    def variables(self) -> list[Tensor]:
        return [self.alpha]

    def relaxation(self) -> Relaxation:
        lower_slope = torch.where(self.unstable, self.alpha, self.base.lower_slope)
        return Relaxation(lower_slope, self.base.lower_bias, self.base.upper_slope, self.base.upper_bias)

    def project(self) -> None:
        self.alpha.data.clamp_(0, 1)


@dataclass(frozen=True, eq=False)
class MaxPoolPlanes:
    """Below any mean of a window's pixels; above any mean of MaxLin's plane, CAPM's chain and the largest upper bound.

    below: (batch, pixels, *output shape), above: (batch, 3, *output shape); both are weights on a simplex. The search
    starts at one pixel and at MaxLin's plane.
    """

    below: Float[Tensor, "batch pixels *shape"]
    above: Float[Tensor, "batch 3 *shape"]
    windows: Windows
    slopes: Float[Tensor, "batch 3 real *shape"]
    biases: Float[Tensor, "batch 3 *shape"]

    @classmethod
    def of(cls, op: ops.MaxPool2d, bounds: IntervalBounds) -> "MaxPoolPlanes":
        windows = Windows.of(op, bounds)
        best = windows.plane(*maxlin.upper_plane(windows))
        chain = capm.relax_maxpool(op, bounds)
        flat = torch.zeros_like(best[0]), windows.upper.amax(1)
        slopes = torch.stack([best[0], chain.upper_slope, flat[0]], 1)
        biases = torch.stack([best[1], chain.upper_bias, flat[1]], 1)
        above = torch.zeros_like(biases)
        above[:, 0] = 1
        below = maxlin.lower_pixel(windows)
        return cls(below.requires_grad_(True), above.requires_grad_(True), windows, slopes, biases)

    @property
    def variables(self) -> list[Tensor]:
        return [self.below, self.above]

    def relaxation(self) -> Relaxation:
        lower_slope, lower_bias = self.windows.plane(self.below, torch.zeros_like(self.below[:, 0]))
        upper_slope = (self.above.unsqueeze(2) * self.slopes).sum(1)
        return Relaxation(lower_slope, lower_bias, upper_slope, (self.above * self.biases).sum(1))

    def project(self) -> None:
        real = torch.isfinite(self.windows.upper)
        self.below.data.copy_(project_simplex(self.below.data.masked_fill(~real, -torch.inf)))
        self.above.data.copy_(project_simplex(self.above.data))


def project_simplex(v: Float[Tensor, "batch n *shape"]) -> Float[Tensor, "batch n *shape"]:
    """Euclidean projection on the probability simplex along dimension 1; -inf stands for a weight fixed at 0."""
    ordered = v.sort(dim=1, descending=True).values
    steps = torch.arange(1, v.shape[1] + 1, dtype=v.dtype, device=v.device).reshape(-1, *([1] * (v.dim() - 2)))
    excess = torch.where(torch.isfinite(ordered), ordered, 0.0).cumsum(1) - 1
    active = torch.isfinite(ordered) & (ordered * steps > excess)
    count = active.sum(1, keepdim=True)
    threshold = excess.gather(1, count - 1) / count
    return (v - threshold).clamp_min(0)
