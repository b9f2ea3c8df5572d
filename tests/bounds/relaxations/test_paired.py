"""Planes from pairwise differences against closed forms, sampling and the linear program that they approximate."""

import itertools
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import nn

from calipers.bounds import FUSED, PAIRED, WorkBudget
from calipers.bounds.relaxations import maxlin, paired
from calipers.bounds.relaxations.maxima import Maxima
from calipers.bounds.relaxations.window import Windows
from calipers.core.sets import Box
from calipers.graph import ops
from calipers.graph.from_torch import from_module
from calipers.graph.graph import Graph
from tests.nets import NETWORKS, random_graph, random_set

BUDGET = WorkBudget()
SEEDS = st.integers(0, 10_000)
POOLED = ("pooled", "padded", "overlap", "pool-first")


def random_windows(seed: int, count: int = 40, candidates: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Bounds, and differences that hold for the points drawn from them and are tighter than the bounds say."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(60, candidates, count, generator=generator, dtype=torch.float64)
    points = points + 2 * torch.randn(60, 1, count, generator=generator, dtype=torch.float64)
    low, high = points.amin(0, keepdim=True), points.amax(0, keepdim=True)
    return low, high, (points.unsqueeze(2) - points.unsqueeze(1)).amax(0, keepdim=True)


def double(net: nn.Module, box: Box) -> Graph:
    return from_module(net.float(), box.lower.float().expand(2, *box.lower.shape[1:])).to(torch.float64)


@given(seed=SEEDS)
def test_the_plane_lies_above_and_never_above_maxlin_at_the_midpoint(seed: int) -> None:
    low, high, difference = random_windows(seed)
    can = paired.winners(low, high, difference)
    slope, bias = paired.upper_plane(low, high, can, difference)
    middle = (low + high) / 2
    plain_slope, plain_bias = maxlin.upper_plane(Windows(low, high.where(can, low - 1), low.shape[1]))
    assert bool(((slope * middle).sum(1) + bias <= (plain_slope * middle).sum(1) + plain_bias + 1e-9).all())
    generator = torch.Generator().manual_seed(seed)
    for _ in range(200):
        x = low + torch.rand(low.shape, generator=generator, dtype=low.dtype) * (high - low)
        holds = ((x.unsqueeze(2) - x.unsqueeze(1)) <= difference + 1e-12).all(2).all(1)
        assert bool(((slope * x).sum(1) + bias >= x.amax(1) - 1e-9)[holds].all())


def test_the_weights_come_within_three_per_cent_of_the_linear_program() -> None:
    low, high, difference = random_windows(3)
    can = paired.winners(low, high, difference)
    slope, bias = paired.upper_plane(low, high, can, difference)
    middle = (low + high) / 2
    ours = (slope * middle).sum(1) + bias
    floor = (middle.masked_fill(~can, -torch.inf)).amax(1)
    gaps, best = [], []
    for k in range(low.shape[2]):
        able = can[0, :, k].nonzero()[:, 0]
        if len(able) < 2:
            continue
        payoff = difference[0, able][:, able, k] + middle[0, able, k]
        exact = linprog(
            [*[0] * len(able), 1],
            A_ub=torch.cat([payoff, -torch.ones(len(able), 1)], 1).numpy(),
            b_ub=[0] * len(able),
            A_eq=[[*[1] * len(able), 0]],
            b_eq=[1],
            bounds=[*[(0, 1)] * len(able), (None, None)],
        ).fun
        gaps.append(float(ours[0, k] - floor[0, k]))
        best.append(exact - float(floor[0, k]))
        assert gaps[-1] >= best[-1] - 1e-9 or float(ours[0, k]) <= exact + 1e-9
    assert sum(gaps) <= 1.03 * sum(best)


def test_differences_after_one_convolution_are_exact() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3, 2, 1), nn.MaxPool2d(2, 1)).double().eval()
    box = random_box((2, 9, 9))
    graph = double(net, box)
    found = PAIRED.propagate(graph, box, BUDGET)
    view = Maxima.of(found.graph, found.graph.output)
    assert view is not None
    # A difference of pixels is linear: its maximum over a box is known.
    unit = torch.eye(2 * 81, dtype=torch.float64).reshape(-1, 2, 9, 9)
    offset = graph.values(torch.zeros_like(box.lower))[view.source].flatten()
    linear = graph.values(unit)[view.source].flatten(1) - offset
    low, high = (
        view.spread(found.bounds[view.source].lower.flatten(1)),
        view.spread(found.bounds[view.source].upper.flatten(1)),
    )
    can = paired.winners(low, high, paired.independent(low, high))
    tighter = 0
    for k, j in itertools.permutations(range(view.pixels), 2):
        for output in (can[0, k] & can[0, j]).nonzero()[:, 0].tolist():
            one, two = int(view.entry[k, output]), int(view.entry[j, output])
            row = linear[:, one] - linear[:, two]
            value = torch.where(row > 0, box.upper[0].flatten(), box.lower[0].flatten()) @ row
            exact = float(value + offset[one] - offset[two])
            # Above it by what single precision may round, and no more.
            assert 0 <= float(found.differences[view.position][0, k, j, output]) - exact <= 1e-4
            tighter += exact < float(high[0, k, output] - low[0, j, output]) - 1e-6
    assert tighter > 50


def test_pairs_that_windows_share_are_walked_once() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 1, 2), nn.MaxPool2d(2, 1)).double().eval()
    box = Box(torch.full((1, 1, 4, 4), -5.0).double(), torch.full((1, 1, 4, 4), 5.0).double())
    with patch.object(paired, "select", wraps=paired.select) as select:
        PAIRED.propagate(double(net, box), box, BUDGET)
    (wanted,), _ = select.call_args
    # In four windows over 3 x 3 pixels: 6 pairs side by side, 6 above each other, 8 diagonal ones, some of them twice.
    assert int(wanted.sum()) == 20


def random_box(shape: tuple[int, ...]) -> Box:
    center = torch.rand(1, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Box(center - 0.2, center + 0.2)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("family", POOLED)
def test_differences_and_bounds_hold_at_sampled_inputs(family: str, seed: int) -> None:
    graph = random_graph(family, seed % NETWORKS)
    sets = random_set(graph.input_shape, seed)
    found = PAIRED.propagate(graph, sets, BUDGET)
    for draw in range(20):
        x = sets.sample(torch.Generator().manual_seed(draw))
        values = found.graph.values(x)
        for position, difference in found.differences.items():
            view = Maxima.of(found.graph, position)
            assert view is not None
            laid = view.spread(values[view.source].flatten(1))
            real = view.entry >= 0
            if view.floor is not None:
                real = torch.cat([real, torch.ones_like(real[:1])])
            both = real.unsqueeze(0) & real.unsqueeze(1)
            gap = difference - (laid.unsqueeze(2) - laid.unsqueeze(1))
            assert float(gap[:, both].min()) >= -1e-9
        for bounds, value in zip(found.bounds, values, strict=True):
            assert bool(((bounds.lower <= value + 1e-9) & (value <= bounds.upper + 1e-9)).all())


def test_neighbouring_pixels_make_it_tighter_than_fused() -> None:
    """Smooth filters with overlapping windows: what the method is for."""
    torch.manual_seed(1)
    first = nn.Conv2d(1, 4, 5, 1, 2)
    first.weight.data.fill_(0.2).add_(0.02 * torch.randn(4, 1, 5, 5))
    net = nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2, 1), nn.Conv2d(4, 4, 3, 2), nn.ReLU(), nn.Flatten())
    net = net.double().eval()
    box = random_box((1, 10, 10))
    graph = double(net, box)
    plain, better = (method.propagate(graph, box, BUDGET).bounds[-2] for method in (FUSED, PAIRED))
    widths = [(bounds.upper - bounds.lower).mean() for bounds in (plain, better)]
    assert float(widths[1]) < 0.9 * float(widths[0])


def test_windows_of_one_pixel_have_nothing_to_compare() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(1)).double().eval()
    box = random_box((1, 6, 6))
    found = PAIRED.propagate(double(net, box), box, BUDGET)
    assert isinstance(found.graph.nodes[-1].op, ops.MaxPool2d)
    assert torch.allclose(found.bounds[-1].upper, found.bounds[-2].upper)
