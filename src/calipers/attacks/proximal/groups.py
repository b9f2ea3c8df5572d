"""Operators of values, lifted to pixels. One pixel is the values at one position, over dimension 1."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.attacks.proximal.operator import MetricOperator, ProximalOperator
from calipers.core.distances import has_channels, largest_channel


@dataclass(frozen=True)
class PixelLength:
    """The operator of phi(length of the pixel), summed over pixels, for an operator `scalar` of sums of phi(u_i).

    Of all pixels of one length the nearest points on the same ray, so that a pixel is only made shorter. With L0Prox
    this is the exact operator of the number of changed pixels.
    """

    scalar: ProximalOperator

    @property
    def convex(self) -> bool:
        return self.scalar.convex

    def value(self, u: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
        return self.scalar.value(_length(u))

    def __call__(self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"]) -> Float[Tensor, "batch *shape"]:
        length = _length(u)
        return u * (self.scalar(length, mu) / length.clamp_min(torch.finfo(u.dtype).tiny))


@dataclass(frozen=True)
class PixelLargest:
    """The thesis's group operator: `scalar` moves the largest channel; where that becomes 0, so does the whole pixel.

    The other channels stay as they are. With L0Prox this is equation 5.16, with TwoThirdsProx what the experiments
    run. It is not the operator of a function of the pixel; `value` is that of the largest channels.
    """

    scalar: MetricOperator

    @property
    def convex(self) -> bool:
        return False

    def value(self, u: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
        return self.scalar.value(largest_channel(u))

    def __call__(self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"]) -> Float[Tensor, "batch *shape"]:
        return self.in_metric(u, mu, torch.ones_like(u))

    def in_metric(
        self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"], psi: Float[Tensor, "batch *shape"]
    ) -> Float[Tensor, "batch *shape"]:
        if not has_channels(u) or u.shape[1] == 1:
            return self.scalar.in_metric(u, mu, psi)
        # argmax over this dimension takes ten times as long.
        largest = u.abs().max(1, keepdim=True).indices
        moved = self.scalar.in_metric(u.gather(1, largest), mu, psi.gather(1, largest))
        return u.scatter(1, largest, moved) * (moved != 0)


def _length(u: Tensor) -> Tensor:
    return u.norm(dim=1, keepdim=True) if has_channels(u) else u.abs()
