"""DeepZ (Singh et al. 2018), walked backward: its zonotope's bounds are those of its parallel planes."""

import torch

from calipers.bounds.relaxations.capm import relax_relu
from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.bounds.relaxations.window import Windows
from calipers.core.intervals import IntervalBounds
from calipers.graph import ops

__all__ = ["relax_maxpool", "relax_relu"]


def relax_maxpool(op: ops.MaxPool2d, bounds: IntervalBounds) -> Relaxation:
    """A pixel that beats all others exactly; else a fresh noise symbol for the whole interval."""
    windows = Windows.of(op, bounds)
    best = windows.one(windows.lower.max(1).indices)
    others = windows.upper.masked_fill(best.bool(), -torch.inf).amax(1)
    beats = windows.lower.amax(1) >= others
    slope, bias = windows.plane(best.where(beats.unsqueeze(1), 0.0), torch.zeros_like(others))
    return Relaxation(slope, bias.where(beats, windows.lower.amax(1)), slope, bias.where(beats, windows.upper.amax(1)))
