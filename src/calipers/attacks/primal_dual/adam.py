"""What Adam remembers (Kingma & Ba 2015), as a value."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

SQUARES, EPSILON = 0.999, 1e-8


@dataclass(frozen=True)
class Moments:
    """Running means of the gradient and of its square after `count` steps; `momentum` is Adam's beta_1."""

    momentum: float
    first: Float[Tensor, "batch *shape"]
    second: Float[Tensor, "batch *shape"]
    count: int = 0

    @classmethod
    def start(cls, momentum: float, like: Float[Tensor, "batch *shape"]) -> "Moments":
        return cls(momentum, torch.zeros_like(like), torch.zeros_like(like))

    def add(self, gradient: Float[Tensor, "batch *shape"]) -> "Moments":
        """The moments after one more gradient."""
        first = self.first.lerp(gradient, 1 - self.momentum)
        return Moments(self.momentum, first, self.second.lerp(gradient.square(), 1 - SQUARES), self.count + 1)

    @property
    def direction(self) -> Float[Tensor, "batch *shape"]:
        """The mean gradient, corrected for the start at zero."""
        return self.first / (1 - self.momentum**self.count)

    @property
    def metric(self) -> Float[Tensor, "batch *shape"]:
        """psi: the root of the mean square, corrected for the start at zero."""
        return (self.second / (1 - SQUARES**self.count)).sqrt_().add_(EPSILON)
