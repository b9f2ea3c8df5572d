"""MaxLin (Xiao et al., CVPR 2024): the upper plane of a maximum that is lowest at the box's midpoint."""

import torch
from torch import Tensor

from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.bounds.relaxations.window import Windows
from calipers.core.intervals import IntervalBounds, middle
from calipers.graph import ops


def upper_plane(windows: Windows) -> tuple[Tensor, Tensor]:
    """With i the largest and j the second largest upper bound: the chord of max(x_i, u_j), or x_i if l_i >= u_j."""
    first, index = windows.upper.max(1)  # many times faster than topk and argmax along this dimension
    second = windows.upper.masked_fill(windows.one(index).bool(), -torch.inf).amax(1)
    low = windows.lower.gather(1, index.unsqueeze(1)).squeeze(1)
    chord = (low < second) & (first > second)
    slope = ((first - second) / (first - low).where(chord, 1.0)).where(chord, (low >= second).to(low.dtype))
    # Where both are equal the chord is flat: the constant u_j.
    bias = (second - slope * low).where(low < second, 0.0)
    return windows.one(index) * slope.unsqueeze(1), bias


def lower_pixel(windows: Windows) -> Tensor:
    """The pixel with the largest midpoint: the largest lower plane among single pixels there."""
    return windows.one(middle(windows.lower, windows.upper).max(1).indices)


def relax_maxpool(op: ops.MaxPool2d, bounds: IntervalBounds) -> Relaxation:
    """MaxLin's plane above, one pixel below."""
    windows = Windows.of(op, bounds)
    lower_slope = lower_pixel(windows)
    zero = torch.zeros_like(lower_slope[:, 0])
    return Relaxation(*windows.plane(lower_slope, zero), *windows.plane(*upper_plane(windows)))
