"""Planes around a nonlinearity over a box, from slopes that nobody vouches for: offsets that make them true."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calipers.check.layers import Array
from calipers.check.network import Maximum, Smooth, apply, candidates
from calipers.check.rounding import gamma


@dataclass(frozen=True, eq=False)
class Slopes:
    """Suggested slopes of one nonlinearity, (candidates, outputs) below and above; a floor has none."""

    below: Array
    above: Array


@dataclass(frozen=True, eq=False)
class Planes:
    """below x + below_offset <= output <= above x + above_offset; slopes (candidates, outputs), offsets (outputs).

    Below may differ between the rows of a walk: then slopes are (rows, candidates, outputs), offsets (rows, outputs).
    """

    below: Array
    below_offset: Array
    above: Array
    above_offset: Array


@dataclass(frozen=True, eq=False)
class Interval:
    """lower <= value <= upper, of a node's shape."""

    lower: Array
    upper: Array

    @property
    def largest(self) -> Array:
        """The largest absolute value."""
        return np.maximum(np.abs(self.lower), np.abs(self.upper))


def planes_of(
    layer: "Maximum | Smooth | object",
    slopes: Slopes,
    interval: Interval,
    gone: Sequence[tuple[int, int]] = (),
    difference: Array | None = None,
) -> Planes:
    """Planes with the slopes given.

    gone: (candidate, output) of a maximum that splits have ruled out. difference: upper bounds of entry k minus entry j
    of each output, (entries, entries, outputs), infinite where there is none.

    Where candidates tie, splits can rule out all that attain the maximum. Such a point lies on both sides of each of
    these splits, so the leaf on which the tie is broken by candidates' numbers holds it too, and keeps one of them.
    """
    if isinstance(layer, Smooth):
        return _smooth_planes(layer, slopes, interval)
    assert isinstance(layer, Maximum)
    low, high = (candidates(layer, side[None])[0] for side in (interval.lower, interval.upper))
    count = len(layer.entry)
    real = layer.entry >= 0
    if slopes.below.shape != real.shape or slopes.above.shape != real.shape:
        raise ValueError(f"slopes of shape {slopes.below.shape}, the maximum takes {real.shape}")
    size = np.where(np.isfinite(low), np.maximum(np.abs(low), np.abs(high)), 0.0)
    below, below_offset = plane_below(layer, slopes.below, interval)
    above = np.where(real, slopes.above, 0.0)
    # Above: the largest of candidate minus plane over the box, one candidate at a time, which is exact.
    low_r, high_r = (np.where(real, side[:count], 0.0) for side in (low, high))
    fall = np.maximum(-above * low_r, -above * high_r)
    others = fall.sum(0) - fall
    own = np.maximum((1 - above) * low_r, (1 - above) * high_r)
    excess = np.where(real, others + own, -np.inf)
    if layer.floor is not None:
        excess = np.concatenate([excess, (fall.sum(0) + layer.floor)[None]])
    if difference is not None:
        excess[:count] = np.minimum(excess[:count], _paired_excess(above, low_r, high_r, real, difference))
    standing = np.isfinite(low)
    for candidate, output in gone:
        standing[candidate, output] = False
    excess[~(standing & ~_beaten(low, high, standing))] = -np.inf
    spread = (np.abs(above) * size[:count]).sum(0) + size.max(0)
    above_offset = excess.max(0) + gamma(2 * count + 4) * spread
    return Planes(below, below_offset, above, above_offset)


def plane_below(layer: Maximum, weights: Array, interval: Interval) -> tuple[Array, Array]:
    """Slopes and offsets of planes below a maximum, from weights (..., candidates, outputs).

    A mean of the candidates. What is missing from 1 goes to the floor, or else to the worst case.
    """
    low, high = (candidates(layer, side[None])[0] for side in (interval.lower, interval.upper))
    count = len(layer.entry)
    size = np.where(np.isfinite(low), np.maximum(np.abs(low), np.abs(high)), 0.0)
    below = np.where(layer.entry >= 0, np.maximum(weights, 0), 0.0)
    missing = 1 - below.sum(-2)
    base = np.where(missing >= 0, missing * (low.max(0) if layer.floor is None else layer.floor), missing * high.max(0))
    return below, base - gamma(count + 2) * (np.abs(base) + size.max(0))


def _beaten(low: Array, high: Array, standing: Array) -> Array:
    """Candidates that never exceed the one of the largest lower bound among those that splits have left."""
    places = np.arange(low.shape[1])
    best = np.where(standing, low, -np.inf).argmax(0)
    beaten = high <= low[best, places]
    beaten[best, places] = False
    return beaten & standing[best, places]


def _paired_excess(above: Array, low: Array, high: Array, real: Array, difference: Array) -> Array:
    """The largest value of each entry minus the plane, z_k - sum_j a_j z_j, by the bounds of differences.

    It is sum_j a_j (z_k - z_j) + (1 - sum_j a_j) z_k for weights a >= 0; an entry that is always below another one is
    never the maximum.
    """
    count = len(above)
    weight = above[None]
    apart = high[:, None] - low[None] + gamma(2) * (np.abs(high)[:, None] + np.abs(low)[None])
    apart = np.where(real[:, None] & real[None], apart, np.inf)
    difference = np.where(np.eye(count, dtype=bool)[:, :, None], 0.0, np.minimum(difference, apart))
    used = np.where(weight > 0, difference, 0.0)
    missing = 1 - above.sum(0)
    rest = np.where(missing >= 0, missing * high, missing * low)
    size = (np.abs(weight) * np.abs(used)).sum(1) + (1 + np.abs(above).sum(0)) * np.maximum(np.abs(low), np.abs(high))
    excess = (weight * used).sum(1) + rest + gamma(2 * count + 4) * size
    excess = np.where((above >= 0).all(0), excess, np.inf)
    return np.where((difference < 0).any(1), -np.inf, excess)


def _smooth_planes(layer: Smooth, slopes: Slopes, interval: Interval) -> Planes:
    low, high = interval.lower.reshape(-1), interval.upper.reshape(-1)
    offsets = []
    for slope, side in ((slopes.below[0], np.min), (slopes.above[0], np.max)):
        places = [low, high, *(np.clip(z, low, high) for z in _turning(layer, slope))]
        values = np.stack([apply(layer, z) - slope * z for z in places])
        allowance = 1e-12 * (1 + np.abs(values).max(0) + np.abs(slope) * np.maximum(np.abs(low), np.abs(high)))
        # A library's function is not the exact one.
        allowance = allowance + layer.deployed(np.maximum(np.abs(apply(layer, low)), np.abs(apply(layer, high))))
        offsets.append(side(values, axis=0) + (allowance if side is np.max else -allowance))
    return Planes(slopes.below, offsets[0], slopes.above, offsets[1])


def _turning(layer: Smooth, slope: Array) -> list[Array]:
    """Where the function's derivative equals a slope; 0 where it nowhere does, which is as good as any point."""
    if layer.function == "Softplus":
        inside = (slope > 0) & (slope < 1)
        share = np.where(inside, slope, 0.5)
        return [np.log(share / (1 - share)) / layer.beta]
    if layer.function == "Tanh":
        # tanh(x) = 2 sigmoid(2 x) - 1.
        return [z / 2 for z in _turning(Smooth("Sigmoid"), slope / 4)]
    inside = (slope > 0) & (slope < 0.25)
    root = np.sqrt(1 - 4 * np.where(inside, slope, 0.25))
    high = (1 + root) / 2
    # The smaller root of p (1 - p) = slope, without cancellation.
    low = np.where(inside, slope, 0.25) / high
    return [np.log(high / low), np.log(low / high)]
