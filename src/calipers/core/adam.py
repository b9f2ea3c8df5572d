"""The moments of Adam (Kingma & Ba, Adam: A Method for Stochastic Optimization, 2015), as a value."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Running means of a gradient and of its square after `count` steps.

    momentum, squares: the decay rates beta_1 and beta_2 of the means. epsilon: added to the root of the mean square.
    A step of Adam at rate a is a * direction / metric.
    """

    momentum: float
    first: Float[Tensor, "*shape"]
    second: Float[Tensor, "*shape"]
    count: int = 0
    squares: float = 0.999
    epsilon: float = 1e-8

    @classmethod
    def start(
        cls, momentum: float, like: Float[Tensor, "*shape"], squares: float = 0.999, epsilon: float = 1e-8
    ) -> "Moments":
        """Before the first step, of gradients that are shaped as `like`."""
        return cls(momentum, torch.zeros_like(like), torch.zeros_like(like), 0, squares, epsilon)

    def add(self, gradient: Float[Tensor, "*shape"]) -> "Moments":
        """The moments after one more gradient."""
        first = self.first.lerp(gradient, 1 - self.momentum)
        second = self.second.lerp(gradient.square(), 1 - self.squares)
        return replace(self, first=first, second=second, count=self.count + 1)

    @property
    def direction(self) -> Float[Tensor, "*shape"]:
        """The mean gradient, corrected for the start at zero."""
        return self.first / (1 - self.momentum**self.count)

    @property
    def metric(self) -> Float[Tensor, "*shape"]:
        """The root of the mean square, corrected for the start at zero, plus epsilon."""
        return (self.second / (1 - self.squares**self.count)).sqrt_().add_(self.epsilon)
