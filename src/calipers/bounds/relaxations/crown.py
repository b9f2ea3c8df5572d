"""CROWN (Zhang et al. 2018) and DeepPoly (Singh et al. 2019): the tightest upper line, a lower line chosen by area."""

import torch

from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.bounds.relaxations.window import Windows
from calipers.core.intervals import IntervalBounds
from calipers.graph import ops


def relax_relu(bounds: IntervalBounds) -> Relaxation:
    """The chord above; below z if u > -l, else 0."""
    crossing = (bounds.lower < 0) & (bounds.upper > 0)
    low, high = bounds.lower.where(crossing, -1.0), bounds.upper.where(crossing, 1.0)
    active = (bounds.lower >= 0).to(low.dtype)
    slope = (high / (high - low)).where(crossing, active)
    lower_slope = (high > -low).to(low.dtype).where(crossing, active)
    return Relaxation(lower_slope, torch.zeros_like(slope), slope, (-slope * low).where(crossing, 0.0))


def relax_maxpool(op: ops.MaxPool2d, bounds: IntervalBounds) -> Relaxation:
    """DeepPoly's maxpool: a pixel that beats all others exactly; else below the pixel with the largest lower bound.

    Above is then the constant largest upper bound.
    """
    windows = Windows.of(op, bounds)
    best = windows.lower.max(1).indices
    lower_slope = windows.one(best)
    others = windows.upper.masked_fill(lower_slope.bool(), -torch.inf).amax(1)
    beats = windows.lower.amax(1) >= others
    zero = torch.zeros_like(others)
    upper_slope = lower_slope.where(beats.unsqueeze(1), 0.0)
    upper_bias = zero.where(beats, windows.upper.amax(1))
    return Relaxation(*windows.plane(lower_slope, zero), *windows.plane(upper_slope, upper_bias))
