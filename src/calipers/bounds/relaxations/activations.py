"""Lines around activations. Any slope is sound: the offsets follow from it, exactly but for rounding.

The slopes are CROWN's (Zhang et al. 2018, section 3.3: tangents and chords of S-shaped functions) and DeepZ's
(Singh et al. 2018, section 4), which share one slope.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.core.intervals import IntervalBounds
from calipers.graph import ops

# The slope, the value and their difference are each off by a few ulps.
_ULPS = 16
_BISECTIONS = 24


@runtime_checkable
class Curve(Protocol):
    """What lines need to know of an activation f."""

    def value(self, x: Tensor) -> Tensor:
        """f, element by element."""

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Good slopes for the line below and the line above; soundness does not rest on them."""

    def shared_slope(self, lower: Tensor, upper: Tensor) -> Tensor:
        """One slope for both lines."""

    def stationary(self, slope: Tensor) -> tuple[Tensor, ...]:
        """All points where f has a given slope. Extremes of f - slope * x lie there or at the ends of an interval."""

    def possible(self, slope: Tensor) -> Tensor:
        """The nearest slope for which `stationary` is defined."""


def relax(op: ops.Op, bounds: IntervalBounds) -> Relaxation:
    """The planes of a smooth activation over intervals of its input, one slope below and one above.

    Raises TypeError for an operation that is none.
    """
    curve = curve_of(op)
    lower_slope, upper_slope = curve.slopes(bounds.lower, bounds.upper)
    return lines(curve, bounds, lower_slope, upper_slope)


def relax_parallel(op: ops.Op, bounds: IntervalBounds) -> Relaxation:
    """The planes of a smooth activation with one slope for both; then one walk gives both bounds."""
    curve = curve_of(op)
    slope = curve.shared_slope(bounds.lower, bounds.upper)
    return lines(curve, bounds, slope, slope)


def lines(
    curve: Curve,
    bounds: IntervalBounds,
    lower_slope: Float[Tensor, "batch *shape"],
    upper_slope: Float[Tensor, "batch *shape"],
) -> Relaxation:
    """The highest line below and the lowest line above a curve over intervals, for whatever slopes."""
    shared = lower_slope is upper_slope
    below = curve.possible(lower_slope)
    above = below if shared else curve.possible(upper_slope)
    lower_bias, _ = _extremes(curve, bounds, below)
    _, upper_bias = _extremes(curve, bounds, above)
    return Relaxation(below, lower_bias, above, upper_bias)


def _extremes(curve: Curve, bounds: IntervalBounds, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Minimum and maximum of f(x) - slope * x over intervals, moved outwards by what rounding may have lost."""
    ends = [bounds.lower, bounds.upper]
    points = ends + [x.clamp(bounds.lower, bounds.upper) for x in curve.stationary(slope)]
    values, products = [curve.value(x) for x in points], [slope * x for x in points]
    gaps = torch.stack([v - p for v, p in zip(values, products, strict=True)])
    sizes = torch.stack([v.abs() + p.abs() for v, p in zip(values, products, strict=True)])
    rounding = _ULPS * torch.finfo(slope.dtype).eps * sizes.amax(0) + torch.finfo(slope.dtype).tiny
    return gaps.amin(0) - rounding, gaps.amax(0) + rounding


@singledispatch
def curve_of(op: ops.Op) -> Curve:
    """The curve of an activation. Raises TypeError for an operation that has none."""
    raise TypeError(f"no relaxation for {type(op).__name__}")


@dataclass(frozen=True)
class Logistic:
    """f(x) = 1 / (1 + exp(-x)): convex below 0, concave above, f(-x) = 1 - f(x)."""

    def value(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        return self._above(-upper, -lower), self._above(lower, upper)

    def shared_slope(self, lower: Tensor, upper: Tensor) -> Tensor:
        return torch.minimum(_steepness(lower), _steepness(upper))

    def stationary(self, slope: Tensor) -> tuple[Tensor, ...]:
        # f (1 - f) = slope; the larger root, without cancellation for small slopes.
        high = (1 + (1 - 4 * slope).sqrt()) / 2
        x = 2 * high.log() - slope.log()
        return -x, x

    def possible(self, slope: Tensor) -> Tensor:
        return slope.clamp(0, 0.25)

    def _above(self, lower: Tensor, upper: Tensor) -> Tensor:
        """The tangent in the middle where it lies above; else the tangent through the lower end, else the chord."""
        top = torch.minimum(upper, 2 + torch.log1p(-lower.clamp(max=0)))
        low, high = torch.zeros_like(upper), top.clamp(min=0)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            covers = self._covers(middle, lower)
            low, high = low.where(covers, middle), middle.where(covers, high)
        first = torch.where(lower >= 0, lower, high)
        touching = _steepness(torch.minimum(torch.maximum(_middle(lower, upper), first), upper))
        tangent = (upper > 0) & ((lower >= 0) | self._covers(first, lower))
        return touching.where(tangent, _chord(self, lower, upper))

    def _covers(self, touch: Tensor, lower: Tensor) -> Tensor:
        """Whether the tangent at a point above 0 lies above the curve at the lower end."""
        return torch.sigmoid(touch) + _steepness(touch) * (lower - touch) >= torch.sigmoid(lower)


@dataclass(frozen=True)
class SoftRamp:
    """f(x) = log(1 + exp(x)): convex, with the logistic function as its derivative."""

    def value(self, x: Tensor) -> Tensor:
        return ops.Softplus().evaluate(x)

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        return torch.sigmoid(_middle(lower, upper)), _chord(self, lower, upper)

    def shared_slope(self, lower: Tensor, upper: Tensor) -> Tensor:
        return _chord(self, lower, upper)

    def stationary(self, slope: Tensor) -> tuple[Tensor, ...]:
        return (slope.log() - torch.log1p(-slope),)

    def possible(self, slope: Tensor) -> Tensor:
        return slope.clamp(0, 1)


@dataclass(frozen=True)
class Stretched:
    """g(x) = height * f(width * x) + constant for a curve f: tanh, and softplus with a steepness of its own.

    function: g itself, evaluated without the detour.
    """

    curve: Curve
    width: float
    height: float
    function: Callable[[Tensor], Tensor]

    def value(self, x: Tensor) -> Tensor:
        return self.function(x)

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        below, above = self.curve.slopes(self._widened(lower), self._widened(upper))
        return self._steepness * below, self._steepness * above

    def shared_slope(self, lower: Tensor, upper: Tensor) -> Tensor:
        return self._steepness * self.curve.shared_slope(self._widened(lower), self._widened(upper))

    def stationary(self, slope: Tensor) -> tuple[Tensor, ...]:
        return tuple(x / self.width for x in self.curve.stationary(slope / self._steepness))

    def possible(self, slope: Tensor) -> Tensor:
        return self._steepness * self.curve.possible(slope / self._steepness)

    @property
    def _steepness(self) -> float:
        return self.width * self.height

    def _widened(self, x: Tensor) -> Tensor:
        """Short of the largest number, whose differences are finite: slopes may be those of a smaller interval."""
        most = torch.finfo(x.dtype).max / 4
        return (self.width * x).clamp(-most, most)


@dataclass(frozen=True, eq=False)
class Kink:
    """slope * x below 0 and x above: convex where slope <= 1, else concave. |x| has the slope -1."""

    slope: Tensor

    def value(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, x * self.slope)

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The chord on one side, the longer piece on the other (CROWN, section 3.3)."""
        chord, piece = self.shared_slope(lower, upper), torch.where(upper > -lower, 1.0, self.slope)
        piece = torch.where(lower >= 0, 1.0, torch.where(upper <= 0, self.slope, piece))
        convex = self.slope <= 1
        return torch.where(convex, piece, chord), torch.where(convex, chord, piece)

    def shared_slope(self, lower: Tensor, upper: Tensor) -> Tensor:
        return _secant(self.value, lower, upper, torch.where(lower >= 0, 1.0, self.slope))

    def stationary(self, slope: Tensor) -> tuple[Tensor, ...]:
        return (torch.zeros_like(slope),)

    def possible(self, slope: Tensor) -> Tensor:
        return slope


@dataclass(frozen=True, eq=False)
class ClampCurve:
    """x between low and high, and these beyond: convex at low, concave at high."""

    low: Tensor
    high: Tensor

    def value(self, x: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(x, self.low), self.high)

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """On each side the chord up to the bend, or flat where more of the interval lies beyond the bend."""
        first, last = torch.maximum(lower, self.low), torch.minimum(upper, self.high)
        rising = (lower < self.high) & (upper > self.low)
        below = _secant(self.value, first, upper, rising.to(lower.dtype)).where(upper - first >= first - lower, 0.0)
        above = _secant(self.value, lower, last, rising.to(lower.dtype)).where(last - lower >= upper - last, 0.0)
        return below.where(rising, 0.0), above.where(rising, 0.0)

    def shared_slope(self, lower: Tensor, upper: Tensor) -> Tensor:
        rising = (lower < self.high) & (upper > self.low)
        return _secant(self.value, lower, upper, rising.to(lower.dtype))

    def stationary(self, slope: Tensor) -> tuple[Tensor, ...]:
        return (self.low.expand_as(slope), self.high.expand_as(slope))

    def possible(self, slope: Tensor) -> Tensor:
        return slope


@curve_of.register
def _(op: ops.Sigmoid) -> Curve:
    return Logistic()


@curve_of.register
def _(op: ops.Tanh) -> Curve:
    return Stretched(Logistic(), 2.0, 2.0, torch.tanh)


@curve_of.register
def _(op: ops.Softplus) -> Curve:
    # The jump at the threshold is charged as rounding.
    return Stretched(SoftRamp(), op.beta, 1 / op.beta, ops.Softplus(op.beta).evaluate)


@curve_of.register
def _(op: ops.LeakyRelu) -> Curve:
    return Kink(op.slope)


@curve_of.register
def _(op: ops.Absolute) -> Curve:
    return Kink(torch.tensor(-1.0))


@curve_of.register
def _(op: ops.Clamp) -> Curve:
    return ClampCurve(op.low, op.high)


def _secant(value: Callable[[Tensor], Tensor], lower: Tensor, upper: Tensor, single: Tensor) -> Tensor:
    """The slope between two points, or `single` where they are one."""
    apart = upper > lower
    run = (upper - lower).where(apart, 1.0)
    return ((value(upper) - value(lower)) / run).where(apart, single)


def _steepness(x: Tensor) -> Tensor:
    """The derivative of the logistic function, without cancellation far out."""
    return torch.sigmoid(x) * torch.sigmoid(-x)


def _middle(lower: Tensor, upper: Tensor) -> Tensor:
    return lower / 2 + upper / 2


def _chord(curve: Curve, lower: Tensor, upper: Tensor) -> Tensor:
    """The slope between the ends, or near the middle where they coincide but for rounding."""
    middle = _middle(lower, upper)
    reach = torch.finfo(lower.dtype).eps ** 0.5 * (1 + middle.abs())
    low, high = torch.minimum(lower, middle - reach), torch.maximum(upper, middle + reach)
    return (curve.value(high) - curve.value(low)) / (high - low)
