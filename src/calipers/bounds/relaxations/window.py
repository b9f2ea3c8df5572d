"""The pixels of pooling windows, as maxpool relaxations see them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from calipers.core.intervals import IntervalBounds
from calipers.graph import ops


@dataclass(frozen=True)
class Windows:
    """Bounds of each window's pixels, (batch, pixels, *output shape); padding has -inf on both sides.

    A pool with a floor has one more pixel, the last, whose value is the floor.
    """

    lower: Float[Tensor, "batch pixels *shape"]
    upper: Float[Tensor, "batch pixels *shape"]
    real: int

    @classmethod
    def of(cls, op: ops.MaxPool2d, bounds: IntervalBounds) -> "Windows":
        lower, upper = pixels(op, bounds.lower), pixels(op, bounds.upper)
        real = lower.shape[1]
        if op.floor is not None:
            floor = torch.full_like(lower[:, :1], op.floor)
            lower, upper = torch.cat([lower, floor], 1), torch.cat([upper, floor], 1)
        return cls(lower, upper, real)

    def plane(self, slope: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """A plane over all pixels as one over the real pixels: the floor's share moves into the bias."""
        if slope.shape[1] > self.real:
            bias = bias + slope[:, self.real] * self.lower[:, self.real]
        return slope[:, : self.real], bias

    def one(self, index: Tensor) -> Float[Tensor, "batch pixels *shape"]:
        """Slopes that pick the pixel `index` (batch, *shape) of each window."""
        return torch.zeros_like(self.lower).scatter_(1, index.unsqueeze(1), 1.0)


def pixels(op: ops.MaxPool2d, values: Tensor) -> Tensor:
    """(batch, channels, h, w) -> (batch, pixels, channels, out h, out w): the windows, with -inf in the padding."""
    return torch.stack(views(op, values, -torch.inf), dim=1)


def views(op: ops.MaxPool2d, values: Tensor, outside: float) -> list[Tensor]:
    """Each pixel's values in all windows, (batch, channels, out h, out w), with `outside` in the padding."""
    top, left = op.padding
    padded = F.pad(values, (left, left, top, top), value=outside)
    height, width = (
        (padded.shape[2 + i] - op.dilation[i] * (op.kernel[i] - 1) - 1) // op.stride[i] + 1 for i in (0, 1)
    )

    def part(start: int, stride: int, count: int) -> slice:
        return slice(start, start + stride * (count - 1) + 1, stride)

    return [padded[..., part(dy, op.stride[0], height), part(dx, op.stride[1], width)] for dy, dx in op.pixels]
