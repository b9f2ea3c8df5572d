"""Bounds from slopes that nobody vouches for: always true, and as tight as the bounds the slopes came from."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from calipers.bounds import FUSED, PAIRED, LinearBounds, WorkBudget
from calipers.check.enclosure import Enclosure
from calipers.check.network import Maximum, Network, Smooth, apply, candidates
from calipers.check.planes import Interval, Slopes, planes_of
from calipers.check.region import Region
from calipers.core.problem import Specification
from calipers.core.sets import Box
from calipers.graph.rewrite import with_maxima
from calipers.verify.branching.journal import slopes_of
from calipers.verify.certify import network_of
from tests.nets import FAMILIES, points, random_graph


def random_slopes(network: Network, random: np.random.Generator) -> dict[int, Slopes]:
    found = {}
    for position, node in enumerate(network.nodes):
        if isinstance(node.layer, Maximum | Smooth):
            count = len(node.layer.entry) if isinstance(node.layer, Maximum) else 1
            shape = (count, int(np.prod(node.shape)))
            found[position] = Slopes(random.normal(size=shape), random.normal(size=shape))
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("paired", [False, True])
def test_any_slopes_give_true_bounds(family: str, seed: int, paired: bool) -> None:
    graph = random_graph(family, seed)
    network = network_of(graph)
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, *graph.input_shape, generator=generator, dtype=torch.float64)
    box = Box(x - 0.2, x + 0.2)
    region = Region.box(box.lower[0].numpy(), box.upper[0].numpy())
    slopes = random_slopes(network, np.random.default_rng(seed))
    if paired:  # differences matter for weights
        slopes = {p: Slopes(s.below, np.abs(s.above) / (1 + np.abs(s.above).sum(0))) for p, s in slopes.items()}
    enclosure = Enclosure.of(network, region, slopes, paired=paired)
    inside = points(box, 300, seed)[:, 0]
    outputs = graph.evaluate(inside).numpy()
    assert (outputs >= enclosure.intervals[-1].lower - 1e-12).all()
    assert (outputs <= enclosure.intervals[-1].upper + 1e-12).all()
    C, d = np.random.default_rng(seed).normal(size=(4, 3)), np.zeros(4)
    assert (outputs @ C.T >= enclosure.rows(C, d) - 1e-12).all()


@pytest.mark.parametrize("method", [FUSED, PAIRED], ids=lambda method: method.name)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_slopes_of_a_bound_give_that_bound(family: str, method: LinearBounds) -> None:
    graph = with_maxima(random_graph(family, 3))
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(1, *graph.input_shape, generator=generator, dtype=torch.float64)
    box = Box(x - 0.05, x + 0.05)
    spec = Specification.classified_as(torch.tensor([1]), 3)
    spec = Specification(spec.C.double(), spec.d.double())
    expected = method.margins(graph, box, spec, WorkBudget()).lower[0].numpy()
    propagation = method.propagate(graph, box, WorkBudget())
    region = Region.box(box.lower[0].numpy(), box.upper[0].numpy())
    enclosure = Enclosure.of(network_of(graph), region, slopes_of(propagation.relaxations, 0), paired=method.paired)
    assert (
        enclosure.rows(spec.C[0].numpy(), spec.d[0].numpy()) >= expected - 2e-6
    ).all()  # their allowances for single precision differ a little


@given(st.integers(0, 10**6), st.booleans(), st.integers(2, 4))
@settings(max_examples=200, deadline=None)
def test_planes_with_differences_hold_where_the_differences_do(seed: int, floored: bool, count: int) -> None:
    random = np.random.default_rng(seed)
    entry = np.arange(count * 3).reshape(count, 3)
    maximum = Maximum(entry, float(random.normal()) if floored else None)
    x = random.normal(size=(100, count * 3)) + 3 * np.tile(random.normal(size=(100, 3)), count)
    laid = x[:, entry]
    difference = (laid[:, :, None] - laid[:, None]).max(0)
    difference[random.random(difference.shape) < 0.2] = np.inf
    weights = random.random((count, 3)) * random.choice([-0.2, 1.0], size=3)
    weights = weights / np.abs(weights).sum(0) * random.choice([0.7, 1.0, 1.2])
    interval = Interval(x.min(0), x.max(0))
    plain, paired = (planes_of(maximum, Slopes(weights, weights), interval, (), d) for d in (None, difference))
    value = candidates(maximum, x).max(1)
    assert (value <= (paired.above * laid).sum(1) + paired.above_offset).all()
    assert (paired.above_offset <= plain.above_offset + 1e-12).all()


@given(st.integers(0, 10**6), st.booleans(), st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_planes_of_a_maximum_hold_at_corners_and_inside(seed: int, floored: bool, count: int) -> None:
    random = np.random.default_rng(seed)
    entry = np.arange(count * 3).reshape(count, 3)
    if count > 1:
        entry[random.integers(count), random.integers(3)] = -1
    floor = float(random.normal()) if floored else None
    maximum = Maximum(entry, floor)
    low = random.normal(size=count * 3)
    high = low + random.exponential(size=count * 3)
    scale = random.choice([0.1, 1.0, 3.0])
    slopes = Slopes(random.normal(size=entry.shape) * scale, random.normal(size=entry.shape) * scale)
    planes = planes_of(maximum, slopes, Interval(low, high))
    share = random.random((200, count * 3))
    share[:100] = share[:100].round()
    x = low + share * (high - low)
    value = candidates(maximum, x).max(1)
    laid = np.where(entry < 0, 0.0, x[:, np.maximum(entry, 0)])
    assert (value >= (planes.below * laid).sum(1) + planes.below_offset).all()
    assert (value <= (planes.above * laid).sum(1) + planes.above_offset).all()


@given(st.integers(0, 10**6), st.sampled_from(["Sigmoid", "Tanh", "Softplus"]))
@settings(max_examples=200, deadline=None)
def test_planes_of_smooth_functions_hold(seed: int, function: str) -> None:
    random = np.random.default_rng(seed)
    low = random.normal(size=20) * 5
    high = low + random.exponential(size=20) * 5
    slopes = Slopes(random.normal(size=(1, 20)) / 2, random.normal(size=(1, 20)) / 2)
    planes = planes_of(Smooth(function), slopes, Interval(low, high))
    z = low + np.linspace(0, 1, 400)[:, None] * (high - low)
    value = apply(Smooth(function), z)
    assert (value >= planes.below[0] * z + planes.below_offset).all()
    assert (value <= planes.above[0] * z + planes.above_offset).all()
