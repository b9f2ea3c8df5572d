"""CAPM: a dual network for maxpool CNNs (bibliography 002), on top of CAP (Wong & Kolter 2018)."""

import torch
from torch import Tensor

from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.bounds.relaxations.window import Windows
from calipers.core.intervals import IntervalBounds
from calipers.graph import ops


def relax_relu(bounds: IntervalBounds) -> Relaxation:
    """CAP's ReLU: between D z and D (z - l), with the chord's slope D = u / (u - l) where l < 0 < u."""
    slope, bias = _chord(bounds.lower, bounds.upper)
    return Relaxation(slope, torch.zeros_like(bias), slope, bias)


def relax_maxpool(op: ops.MaxPool2d, bounds: IntervalBounds) -> Relaxation:
    """CAPM's chain M_{j+1} = M_j + ReLU(z_j - M_j) over a window's pixels, each ReLU relaxed as CAP does.

    The bounds of z_j - M_j are l_j - max_{i<j} u_i and u_j - max_{i<j} l_i (section 2.2.2). The chain starts at 0
    where no pixel can be negative (after a ReLU), else at its first pixel. Written out, the chain is one pair of
    parallel planes: pixel j has the slope D_j prod_{i>j} (1 - D_i).
    """
    windows = Windows.of(op, bounds)
    lower, upper = windows.lower, windows.upper
    inside = torch.isfinite(upper)
    after_relu = torch.where(inside, lower, torch.inf).amin(1) >= 0
    low = high = torch.zeros_like(lower[:, 0]).masked_fill_(~after_relu, -torch.inf)
    slopes, biases = [], []
    for j in range(lower.shape[1]):
        slope, bias = _chord(lower[:, j] - high, upper[:, j] - low)
        slopes.append(slope.where(inside[:, j], 0.0))
        biases.append(bias.where(inside[:, j], 0.0))
        low, high = torch.maximum(low, lower[:, j]), torch.maximum(high, upper[:, j])
    rest = torch.ones_like(low)
    offset = torch.zeros_like(low)
    weights: list[Tensor] = []
    for slope, bias in zip(reversed(slopes), reversed(biases), strict=True):
        weights.insert(0, rest * slope)
        offset += rest * bias
        rest = rest * (1 - slope)
    slope, shift = windows.plane(torch.stack(weights, 1), torch.zeros_like(offset))
    return Relaxation(slope, shift, slope, shift + offset)


def _chord(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Slope D of CAP's ReLU and the height -D l of its upper line."""
    crossing = (lower < 0) & (upper > 0)
    low, high = lower.where(crossing, -1.0), upper.where(crossing, 1.0)
    slope = (high / (high - low)).where(crossing, (lower >= 0).to(lower.dtype))
    return slope, (-slope * low).where(crossing, 0.0)
