"""Families of planes to optimise over: every member is sound, so any search may pick among them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from calipers.bounds.relaxations import capm, crown, maxlin
from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.bounds.relaxations.window import Windows
from calipers.core.intervals import IntervalBounds
from calipers.graph import ops
from calipers.graph.graph import Graph


@runtime_checkable
class PlaneFamily(Protocol):
    """A family of relaxations of one nonlinearity; `variables` say which member is meant, for a batch of images."""

    @property
    def variables(self) -> list[Tensor]:
        """Leaf tensors that take gradients; every point that `project` leaves is sound."""

    def relaxation(self, bounds: IntervalBounds) -> Relaxation:
        """The member meant, given the input's bounds; differentiable in the variables and the bounds."""

    def project(self) -> None:
        """Move the variables back to where they are sound."""


@dataclass(frozen=True, eq=False)
class ReluPlanes:
    """The chord above; below alpha z, 0 <= alpha <= 1, where the neuron is unstable (alpha-CROWN, Xu et al. 2021)."""

    alpha: Float[Tensor, "batch *shape"]

    @classmethod
    def of(cls, bounds: IntervalBounds) -> "ReluPlanes":
        """The family, started at CROWN's choice."""
        return cls(crown.relax_relu(bounds).lower_slope.clone().requires_grad_(True))

    @property
    def variables(self) -> list[Tensor]:
        return [self.alpha]

    def relaxation(self, bounds: IntervalBounds) -> Relaxation:
        chosen = crown.relax_relu(bounds)
        unstable = (bounds.lower < 0) & (bounds.upper > 0)
        lower_slope = torch.where(unstable, self.alpha, chosen.lower_slope)
        return Relaxation(lower_slope, chosen.lower_bias, chosen.upper_slope, chosen.upper_bias)

    def project(self) -> None:
        self.alpha.data.clamp_(0, 1)


@dataclass(frozen=True, eq=False)
class MaxPoolPlanes:
    """Below any mean of a window's pixels; above any mean of MaxLin's plane, CAPM's chain and the largest upper bound.

    below: (batch, pixels, *output shape), above: (batch, 3, *output shape); both are weights on a simplex.
    real: which pixels are none of the padding.
    """

    op: ops.MaxPool2d
    below: Float[Tensor, "batch pixels *shape"]
    above: Float[Tensor, "batch 3 *shape"]
    real: Bool[Tensor, "batch pixels *shape"]

    @classmethod
    def of(cls, op: ops.MaxPool2d, bounds: IntervalBounds) -> "MaxPoolPlanes":
        """The family, started at one pixel below and MaxLin's plane above."""
        windows = Windows.of(op, bounds)
        below = maxlin.lower_pixel(windows)
        above = torch.zeros_like(below[:, :1]).repeat_interleave(3, 1)
        above[:, 0] = 1
        return cls(op, below.requires_grad_(True), above.requires_grad_(True), torch.isfinite(windows.upper))

    @property
    def variables(self) -> list[Tensor]:
        return [self.below, self.above]

    def relaxation(self, bounds: IntervalBounds) -> Relaxation:
        windows = Windows.of(self.op, bounds)
        slope, bias = windows.plane(*maxlin.upper_plane(windows))
        chain = capm.relax_maxpool(self.op, bounds)
        best, second, third = self.above.unbind(1)
        upper_slope = best.unsqueeze(1) * slope + second.unsqueeze(1) * chain.upper_slope
        upper_bias = best * bias + second * chain.upper_bias + third * windows.upper.amax(1)
        lower_slope, lower_bias = windows.plane(self.below, torch.zeros_like(best))
        return Relaxation(lower_slope, lower_bias, upper_slope, upper_bias)

    def project(self) -> None:
        self.below.data.copy_(project_simplex(self.below.data.masked_fill(~self.real, -torch.inf)))
        self.above.data.copy_(project_simplex(self.above.data))


def families(graph: Graph, bounds: Sequence[IntervalBounds], until: int) -> dict[int, PlaneFamily]:
    """A family for every ReLU and maxpool up to node `until`."""
    planes: dict[int, PlaneFamily] = {}
    for position, node in enumerate(graph.nodes[: until + 1]):
        if isinstance(node.op, ops.Relu):
            planes[position] = ReluPlanes.of(bounds[node.inputs[0]])
        elif isinstance(node.op, ops.MaxPool2d):
            planes[position] = MaxPoolPlanes.of(node.op, bounds[node.inputs[0]])
    return planes


def project_simplex(v: Float[Tensor, "batch n *shape"]) -> Float[Tensor, "batch n *shape"]:
    """Euclidean projection on the probability simplex along dimension 1; -inf stands for a weight fixed at 0."""
    ordered = v.sort(dim=1, descending=True).values
    steps = torch.arange(1, v.shape[1] + 1, dtype=v.dtype, device=v.device).reshape(-1, *([1] * (v.dim() - 2)))
    excess = torch.where(torch.isfinite(ordered), ordered, 0.0).cumsum(1) - 1
    active = torch.isfinite(ordered) & (ordered * steps > excess)
    count = active.sum(1, keepdim=True)
    threshold = excess.gather(1, count - 1) / count
    return (v - threshold).clamp_min(0)
