"""The planes of CAP and CAPM against sampling and against the chain walked step by step."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from calipers.bounds.relaxations import capm, crown, deepz, maxlin
from calipers.bounds.relaxations.capm import relax_maxpool
from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.bounds.relaxations.window import pixels
from calipers.core.intervals import IntervalBounds
from calipers.graph import ops

SEEDS = st.integers(0, 10_000)


def intervals(shape: tuple[int, ...], seed: int, low: float = -1.0) -> IntervalBounds:
    generator = torch.Generator().manual_seed(seed)
    lower = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 + low
    return IntervalBounds(lower, lower + torch.rand(shape, generator=generator, dtype=torch.float64))


def sandwiched(relaxation: Relaxation, inputs: torch.Tensor, value: torch.Tensor) -> bool:
    axis = relaxation.lower_slope.dim() != relaxation.lower_bias.dim()
    low, high = relaxation.lower_slope * inputs, relaxation.upper_slope * inputs
    low, high = (low.sum(1), high.sum(1)) if axis else (low, high)
    below = low + relaxation.lower_bias <= value + 1e-9
    return bool((below & (high + relaxation.upper_bias >= value - 1e-9)).all())


@pytest.mark.parametrize("relu", [capm.relax_relu, crown.relax_relu])
@given(seed=SEEDS)
def test_relu_lies_between_its_planes(relu, seed: int) -> None:
    bounds = intervals((20,), seed)
    relaxation = relu(IntervalBounds(bounds.lower[None], bounds.upper[None]))
    z = bounds.lower + torch.linspace(0, 1, 9, dtype=torch.float64)[:, None] * (bounds.upper - bounds.lower)
    assert sandwiched(relaxation, z, z.clamp(min=0))


POOLS = [
    ops.MaxPool2d((2, 2), (1, 1)),
    ops.MaxPool2d((2, 2), (2, 2)),
    ops.MaxPool2d((3, 3), (2, 2), (1, 1)),
    ops.MaxPool2d((2, 3), (1, 2), (1, 1), (2, 1)),
    ops.MaxPool2d((2, 2), (1, 1), (1, 1), floor=0.0),
    ops.MaxPool2d((1, 1), (1, 1), floor=0.2),
]
CHOICES = [capm.relax_maxpool, crown.relax_maxpool, deepz.relax_maxpool, maxlin.relax_maxpool]


@pytest.mark.parametrize("op", POOLS)
@pytest.mark.parametrize("maxpool", CHOICES, ids=["capm", "crown", "deepz", "maxlin"])
@given(seed=SEEDS, low=st.sampled_from([-1.0, 0.0]))
def test_maxpool_lies_between_its_planes(maxpool, op: ops.MaxPool2d, seed: int, low: float) -> None:
    bounds = intervals((1, 2, 6, 6), seed, low)
    relaxation = maxpool(op, bounds)
    share = torch.rand(12, *bounds.lower.shape[1:], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    share[1::2] = share[1::2].round()
    z = bounds.lower + share * (bounds.upper - bounds.lower)
    windows = torch.where(torch.isfinite(pixels(op, z)), pixels(op, z), 0.0)
    assert sandwiched(relaxation, windows, op.evaluate(z))


@given(SEEDS)
def test_the_planes_equal_the_published_walk_along_the_chain(seed: int) -> None:
    """Section 2.2 and appendix A.2, window by window: kappa_j = D_j rho, rho <- rho - kappa_j, crossing terms."""
    op = ops.MaxPool2d((2, 2), (2, 2))
    bounds = intervals((1, 1, 2, 2), seed, low=-0.2)
    bounds = IntervalBounds(bounds.lower.clamp(min=0), bounds.upper.clamp(min=0))
    relaxation = relax_maxpool(op, bounds)
    lower, upper = bounds.lower.flatten().tolist(), bounds.upper.flatten().tolist()
    rho, high = 1.0, 0.0
    for j in reversed(range(4)):
        low_bar = lower[j] - max([0.0, *upper[:j]])
        high_bar = upper[j] - max([0.0, *lower[:j]])
        slope = 1.0 if low_bar >= 0 else 0.0 if high_bar <= 0 else high_bar / (high_bar - low_bar)
        kappa = slope * rho
        if low_bar < 0 < high_bar:
            high -= low_bar * kappa
        assert float(relaxation.upper_slope.flatten()[j]) == pytest.approx(kappa, abs=1e-12)
        rho -= kappa
    assert float(relaxation.upper_bias) == pytest.approx(high, abs=1e-12)
    assert float(relaxation.lower_bias) == 0


def test_a_window_with_a_clear_winner_is_exact() -> None:
    lower = torch.tensor([[[[0.0, 3.0], [0.5, 1.0]]]])
    relaxation = relax_maxpool(ops.MaxPool2d((2, 2), (2, 2)), IntervalBounds(lower, lower + 1))
    assert relaxation.upper_slope.flatten().tolist() == [0, 1, 0, 0]
    assert float(relaxation.upper_bias) == 0


def test_padding_is_ignored_even_where_every_pixel_is_negative() -> None:
    lower = torch.full((1, 1, 2, 2), -3.0)
    relaxation = relax_maxpool(ops.MaxPool2d((2, 2), (1, 1), (1, 1)), IntervalBounds(lower, lower + 1))
    assert bool(torch.isfinite(relaxation.upper_slope).all())
    assert relaxation.upper_slope[0, :, 0, 0, 0].tolist() == [0, 0, 0, 1]


@given(seed=SEEDS)
def test_maxlins_upper_plane_is_the_lowest_at_the_midpoint(seed: int) -> None:
    """Against the linear program over all planes that hold at the vertices of the box."""
    bounds = intervals((1, 1, 2, 2), seed)
    relaxation = maxlin.relax_maxpool(ops.MaxPool2d((2, 2), (2, 2)), bounds)
    middle = (bounds.lower + bounds.upper).flatten() / 2
    found = float((relaxation.upper_slope.flatten() * middle).sum() + relaxation.upper_bias)
    choices = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 4)
    corners = bounds.lower.flatten() + choices * (bounds.upper - bounds.lower).flatten()
    above = torch.cat([corners, torch.ones(16, 1, dtype=torch.float64)], 1)
    best = linprog([*middle.tolist(), 1.0], A_ub=-above.numpy(), b_ub=-corners.amax(1).numpy(), bounds=(None, None))
    assert found == pytest.approx(best.fun, abs=1e-7)
