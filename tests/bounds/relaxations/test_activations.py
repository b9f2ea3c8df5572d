"""Lines around smooth activations against dense sampling, extreme intervals included."""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from calipers.bounds.relaxations.activations import curve_of, lines, relax, relax_parallel
from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.core.intervals import IntervalBounds
from calipers.graph import ops

SMOOTH = [ops.Sigmoid(), ops.Softplus()]
KINDS = pytest.mark.parametrize("op", SMOOTH, ids=["sigmoid", "softplus"])
TYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
ENDS = st.floats(-30, 30) | st.floats(-1e6, 1e6) | st.floats(-1e-6, 1e-6)
WIDTHS = st.sampled_from([0.0, 1e-30, 1e-12, 1e-7, 1e-4]) | st.floats(0, 4) | st.floats(0, 1e6)
EXTREMES = [(-1e30, 2e30), (-200.0, 400.0), (-1e5, 1e5 + 1e-3), (88.0, 1.0), (-104.0, 1.0), (0.0, 0.0), (-0.0, 700.0)]


def exact(op: ops.Op, x: torch.Tensor) -> torch.Tensor:
    """In double precision, without the library's function."""
    x = x.double()
    if isinstance(op, ops.Sigmoid):
        return torch.where(x >= 0, 1 / (1 + (-x.abs()).exp()), (-x.abs()).exp() / (1 + (-x.abs()).exp()))
    return x.clamp(min=0) + torch.log1p((-x.abs()).exp())


def interval(low: float, width: float, dtype: torch.dtype) -> IntervalBounds:
    lower = torch.tensor([[low]], dtype=dtype)
    return IntervalBounds(lower, lower + torch.tensor(width, dtype=dtype))


def samples(bounds: IntervalBounds) -> torch.Tensor:
    """Points of the interval, even and crowded at its ends and at zero."""
    low, high = bounds.lower.double(), bounds.upper.double()
    share = torch.cat([torch.linspace(0, 1, 801), torch.logspace(-12, 0, 100), 1 - torch.logspace(-12, 0, 100)])
    around = torch.cat([-torch.logspace(-6, 3, 300), torch.zeros(1), torch.logspace(-6, 3, 300)])
    points = torch.cat([low + share.double() * (high - low), around.double()[None]], 1)
    return points.clamp(low, high)


def violation(op: ops.Op, bounds: IntervalBounds, r: Relaxation) -> float:
    """By how much, in real arithmetic, the curve leaves the lines."""
    x = samples(bounds)
    value = exact(op, x)
    below = r.lower_slope.double() * x + r.lower_bias.double() - value
    above = value - r.upper_slope.double() * x - r.upper_bias.double()
    assert bool(torch.isfinite(below).all() and torch.isfinite(above).all())
    return float(torch.maximum(below, above).max())


def with_extremes(test):
    for low, width in EXTREMES:
        test = example(low=low, width=width)(test)
    return test


@KINDS
@TYPES
@pytest.mark.parametrize("choose", [relax, relax_parallel], ids=["two", "parallel"])
@with_extremes
@given(low=ENDS, width=WIDTHS)
def test_the_curve_lies_between_its_lines(op, dtype, choose, low: float, width: float) -> None:
    bounds = interval(low, width, dtype)
    assert violation(op, bounds, choose(op, bounds)) <= 0


@KINDS
@TYPES
@given(low=ENDS, width=WIDTHS, slopes=st.tuples(st.floats(-1, 2), st.floats(-1, 2)))
@example(low=-3.0, width=9.0, slopes=(0.25, 1.0))  # stationary points at 0 and at infinity
@example(low=-3.0, width=9.0, slopes=(0.0, 1e-30))  # stationary points far out
def test_any_slope_is_sound(op, dtype, low: float, width: float, slopes: tuple[float, float]) -> None:
    bounds = interval(low, width, dtype)
    chosen = [torch.full_like(bounds.lower, slope) for slope in slopes]
    assert violation(op, bounds, lines(curve_of(op), bounds, *chosen)) <= 0


@KINDS
@given(low=st.floats(-6, 6), width=st.floats(1e-3, 10))
def test_the_lines_touch_the_curve(op, low: float, width: float) -> None:
    """A line that does not touch could be moved."""
    bounds = interval(low, width, torch.float64)
    r, x = relax(op, bounds), samples(interval(low, width, torch.float64))
    value = op.evaluate(x)
    assert float((value - r.lower_slope * x - r.lower_bias).min()) < 1e-3 * width
    assert float((r.upper_slope * x + r.upper_bias - value).min()) < 1e-3 * width


@given(low=st.floats(-8, 8), width=st.floats(1e-2, 12))
def test_no_upper_line_is_lower_in_the_middle(low: float, width: float) -> None:
    """Over all slopes, each with its best offset."""
    op, bounds = ops.Sigmoid(), interval(low, width, torch.float64)
    middle = low + width / 2
    found = relax(op, bounds)
    slopes = torch.linspace(0, 0.25, 400, dtype=torch.float64)[None]
    wide = IntervalBounds(bounds.lower.expand(1, 400), bounds.upper.expand(1, 400))
    every = lines(curve_of(op), wide, slopes, slopes)
    best_above = float((every.upper_slope * middle + every.upper_bias).min())
    best_below = float((every.lower_slope * middle + every.lower_bias).max())
    assert float(found.upper_slope * middle + found.upper_bias) <= best_above + 1e-6
    assert float(found.lower_slope * middle + found.lower_bias) >= best_below - 1e-6


@KINDS
def test_a_point_is_bounded_by_its_value(op) -> None:
    bounds = interval(0.7, 0.0, torch.float64)
    r = relax(op, bounds)
    value = float(op.evaluate(bounds.lower))
    assert float(r.lower_slope * 0.7 + r.lower_bias) == pytest.approx(value, abs=1e-12)
    assert float(r.upper_slope * 0.7 + r.upper_bias) == pytest.approx(value, abs=1e-12)


def test_parallel_lines_share_their_slope_and_others_are_tighter() -> None:
    bounds = interval(-2.0, 5.0, torch.float64)
    shared, free = relax_parallel(ops.Sigmoid(), bounds), relax(ops.Sigmoid(), bounds)
    assert shared.parallel
    assert not free.parallel
    middle = 0.5
    assert float(free.upper_slope * middle + free.upper_bias) < float(shared.upper_slope * middle + shared.upper_bias)


def test_an_operation_without_a_curve_is_named() -> None:
    with pytest.raises(TypeError, match="Reshape"):
        relax(ops.Reshape((1,)), interval(0.0, 1.0, torch.float64))


def test_softplus_is_itself_far_out() -> None:
    x = torch.tensor([-800.0, 0.0, 49.0, 60.0], dtype=torch.float64)
    expected = [0.0, math.log(2), 49 + math.log1p(math.exp(-49)), 60.0]
    assert ops.Softplus().evaluate(x).tolist() == pytest.approx(expected, rel=1e-15)
