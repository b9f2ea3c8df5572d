"""Bounds that are found one side at a time against those of both sides."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from calipers.bounds.budget import WorkBudget
from calipers.bounds.propagation import walks
from calipers.bounds.propagation.linear import FUSED, Propagation
from calipers.bounds.propagation.walks import Walks
from calipers.core.intervals import IntervalBounds
from calipers.core.sets import Box, InputSet
from tests.nets import FAMILIES, NETWORKS, random_graph, random_set

SEEDS = st.integers(0, 2**16)


def both_sides(start: Walks, wanted: Tensor, cheap: IntervalBounds) -> IntervalBounds:
    return start.both_sides(wanted, cheap).intersect(cheap)


def propagate(family: str, sets: InputSet, seed: int, find) -> Propagation:
    with patch.object(Walks, "settle", find):
        return FUSED.propagate(random_graph(family, seed % NETWORKS), sets, WorkBudget())


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=5, deadline=None)
@given(seed=SEEDS)
def test_planes_are_those_of_both_sides(family: str, seed: int) -> None:
    sets = random_set(random_graph(family, seed % NETWORKS).input_shape, seed)
    one, two = propagate(family, sets, seed, Walks.settle), propagate(family, sets, seed, both_sides)
    assert one.relaxations.keys() == two.relaxations.keys()
    for position, planes in one.relaxations.items():
        for mine, theirs in zip(vars(planes).values(), vars(two.relaxations[position]).values(), strict=True):
            torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("family", ["conv", "residual"])
def test_fewer_rows_are_walked(family: str) -> None:
    walked = []
    walk = walks.backsubstitute

    def count(graph, position, rows, relaxations, noise):
        walked.append(rows.constant.numel())
        return walk(graph, position, rows, relaxations, noise)

    def rows(find) -> int:
        walked.clear()
        with patch.object(walks, "backsubstitute", count):
            for seed in range(5):
                center = random_set(random_graph(family, seed % NETWORKS).input_shape, seed).box().lower
                propagate(family, Box(center, center + 0.1), seed, find)
        return sum(walked)

    assert 0 < rows(Walks.settle) < rows(both_sides)
