"""Layers that torch has as functions only."""

from typing import Any

import torch
from torch import Tensor, nn


def pair(value: Any) -> tuple[int, int]:
    """A setting of a window, given as one number or as two."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


class Residual(nn.Module):
    """x + body(x)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Joined(nn.Module):
    """Two branches side by side."""

    def __init__(self, one: nn.Module, two: nn.Module) -> None:
        super().__init__()
        self.one, self.two = one, two

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.two(x)], 1)


class Extreme(nn.Module):
    """The entrywise larger (or smaller) of two branches."""

    def __init__(self, one: nn.Module, two: nn.Module, largest: bool) -> None:
        super().__init__()
        self.one, self.two, self.largest = one, two, largest

    def forward(self, x: Tensor) -> Tensor:
        return (torch.maximum if self.largest else torch.minimum)(self.one(x), self.two(x))


class Clip(nn.Module):
    """min(max(x, low), high)."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        # As single precision has them, so that they mean the same in every arithmetic.
        self.low, self.high = torch.tensor([low, high]).tolist()

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(self.low, self.high)


class Abs(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.abs()


class Gain(nn.Module):
    """weight * x + bias, entry by entry."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.bias
