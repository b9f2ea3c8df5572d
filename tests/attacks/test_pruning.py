"""Greedy pruning on linear models, whose smallest supports are known."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.pruning import prune
from calipers.core.distances import Distance
from calipers.core.problem import MinimumNormProblem, Specification
from tests.nets import nearest_query

DOMAIN = (0.0, 1.0)


def query(
    weights: list[float],
    distance: Distance = Distance.L0_VALUES,
    domain: tuple[float, float] | None = DOMAIN,
    shape: tuple[int, ...] | None = None,
) -> NearestQuery:
    """Class 0 while the weighted sum of the values is less than 1; the centre is 0."""
    net = nn.Linear(len(weights), 2, bias=False).requires_grad_(False)
    net.weight.copy_(torch.tensor([[-w for w in weights], weights]))
    specification = Specification(torch.tensor([[[1.0, -1.0]]]), torch.full((1, 1), 2.0))
    center = torch.zeros(1, *(shape or (len(weights),)))
    problem = MinimumNormProblem("sum", (0,), center, distance, torch.ones(()), domain, specification)
    return nearest_query(nn.Sequential(nn.Flatten(), net), problem)


def started(asked: NearestQuery, x: list[float]) -> NearestQuery:
    asked.margins(torch.tensor(x).reshape(asked.problem.center.shape), torch.arange(1))
    assert bool(asked.best_distance.isfinite())
    asked.forwards.zero_()
    return asked


def test_what_is_worth_least_is_dropped_while_the_rest_does() -> None:
    asked = started(query([0.3, 0.6, 0.5, 0.2]), [1.0, 1.0, 1.0, 1.0])
    prune(asked, 40)
    assert asked.best.tolist() == [[0.0, 1.0, 1.0, 0.0]]


def test_the_rest_moves_to_the_ends_of_the_domain() -> None:
    asked = started(query([0.6, 0.5, -0.4, 0.2]), [0.9, 0.8, 0.0, 0.5])
    prune(asked, 10)
    assert asked.best.tolist() == [[1.0, 1.0, 0.0, 0.0]]


def test_two_are_swapped_for_one() -> None:
    asked = started(query([0.3, 0.4, 0.35, 0.7]), [1.0, 1.0, 1.0, 0.0])
    prune(asked, 2 + 3 * 4)
    assert asked.best.tolist() == [[0.0, 1.0, 0.0, 1.0]]


def test_pixels_keep_or_lose_all_channels() -> None:
    # Two channels of three pixels: pixel 1 is worth most, though its values are not the largest ones.
    weights = [0.7, 0.55, 0.1, 0.0, 0.55, 0.2]
    pixels = started(query(weights, Distance.L0_PIXELS, shape=(2, 1, 3)), [1.0] * 6)
    prune(pixels, 30)
    assert pixels.best.flatten().tolist() == [0.0, 1.0, 0.0, 0.0, 1.0, 0.0]
    values = started(query(weights, Distance.L0_VALUES, shape=(2, 1, 3)), [1.0] * 6)
    prune(values, 30)
    assert float(values.best_distance) == 2


@pytest.mark.parametrize(("distance", "domain"), [(Distance.L2, DOMAIN), (Distance.L0_VALUES, None)])
def test_nothing_is_tried_where_there_is_no_count_or_no_domain(distance: Distance, domain) -> None:
    asked = started(query([0.6, 0.6], distance, domain), [1.0, 1.0])
    prune(asked, 40)
    assert int(asked.forwards + asked.backwards) == 0


def test_nothing_found_costs_nothing() -> None:
    asked = query([0.1, 0.1])
    prune(asked, 40)
    assert int(asked.forwards + asked.backwards) == 0


@given(seed=st.integers(0, 10_000), passes=st.integers(0, 60))
def test_it_keeps_to_its_passes_and_to_what_is_possible(seed: int, passes: int) -> None:
    weights = torch.rand(6, generator=torch.Generator().manual_seed(seed)).add(0.2).tolist()
    asked = started(query(weights), [1.0] * 6)
    prune(asked, passes)
    assert int(asked.forwards + asked.backwards) <= passes
    least = next(
        size for size in range(1, 7) if any(sum(chosen) > 1 + 1e-5 for chosen in itertools.combinations(weights, size))
    )
    assert least <= int(asked.best_distance) <= 6
    if passes == 60:
        # All weights are in the support at the start, so dropping the least worth leaves the best.
        assert int(asked.best_distance) == least
