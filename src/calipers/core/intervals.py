"""Interval bounds on the values of one node."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor


def middle(lower: Tensor, upper: Tensor) -> Tensor:
    """Half of the sum of two ends, also where that exceeds the largest number.

    Halves first are no remedy for all: those of the least numbers are rounded.
    """
    half = (lower + upper) / 2
    return torch.where(half.isfinite(), half, lower / 2 + upper / 2)


@dataclass(frozen=True)
class IntervalBounds:
    """lower <= value <= upper, element by element, for a batch of input sets."""

    lower: Float[Tensor, "batch *shape"]
    upper: Float[Tensor, "batch *shape"]

    @cached_property
    def size(self) -> Float[Tensor, "batch *shape"]:
        """The largest absolute value of every entry."""
        return torch.maximum(self.lower.abs(), self.upper.abs())

    @cached_property
    def middle(self) -> Float[Tensor, "batch *shape"]:
        """Half of the sum, also where that exceeds the largest number."""
        return middle(self.lower, self.upper)

    @cached_property
    def radius(self) -> Float[Tensor, "batch *shape"]:
        """From the middle to the ends: so it has room for what the middle rounds away, of the least numbers too."""
        return torch.maximum(self.upper - self.middle, self.middle - self.lower)

    def intersect(self, other: "IntervalBounds") -> "IntervalBounds":
        """The tighter of both on each side."""
        return IntervalBounds(torch.maximum(self.lower, other.lower), torch.minimum(self.upper, other.upper))

    def joined(self, other: "IntervalBounds") -> "IntervalBounds":
        """Those of another batch after these."""
        return IntervalBounds(torch.cat([self.lower, other.lower]), torch.cat([self.upper, other.upper]))

    def at(self, index: Tensor | slice) -> "IntervalBounds":
        """Those of some members of the batch, in the order given."""
        return IntervalBounds(self.lower[index], self.upper[index])

    def repeated(self, times: int) -> "IntervalBounds":
        """Every member of the batch so many times in a row."""
        return IntervalBounds(self.lower.repeat_interleave(times, 0), self.upper.repeat_interleave(times, 0))

    def ordered(self) -> "IntervalBounds":
        """With ends that have crossed swapped: two ways to one number differ by their rounding."""
        return IntervalBounds(torch.minimum(self.lower, self.upper), torch.maximum(self.lower, self.upper))
