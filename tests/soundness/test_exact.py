"""Bounds against the exact minimum of tiny networks."""

import pytest
import torch

from calipers.bounds import METHODS, WorkBudget
from calipers.core.problem import Specification
from calipers.core.sets import Box
from calipers.graph.rewrite import fuse_windows
from tests.milp import exact_minimum
from tests.nets import BASIC, random_graph


def task(family: str, seed: int, radius: float) -> tuple:
    graph = random_graph(family, seed)
    generator = torch.Generator().manual_seed(seed)
    center = torch.rand(1, *graph.input_shape, generator=generator, dtype=torch.float64)
    row = torch.randn(1, 1, 3, generator=generator, dtype=torch.float64)
    return graph, Box(center - radius, center + radius), Specification(row, torch.zeros(1, 1, dtype=torch.float64))


def compare(family: str, seed: int, radius: float) -> None:
    graph, box, specification = task(family, seed, radius)
    exact = exact_minimum(graph, box.lower[0], box.upper[0], specification.C[0, 0])
    for method in METHODS:
        bound = METHODS[method].margins(graph, box, specification, WorkBudget()).lower
        assert float(bound) <= exact + 1e-6, f"{method} on {family} {seed}"


@pytest.mark.parametrize("family", BASIC)
def test_no_bound_exceeds_the_exact_minimum(family: str) -> None:
    compare(family, 3, 0.01)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("family", BASIC)
@pytest.mark.parametrize("seed", range(3))
def test_no_bound_exceeds_the_exact_minimum_in_full(family: str, seed: int) -> None:
    compare(family, seed, 0.05)


@pytest.mark.parametrize("family", BASIC)
def test_the_oracle_is_attained_by_descent_in_a_tiny_box(family: str) -> None:
    """So small a box leaves nothing unstable: the network is linear there, and every walk is exact."""
    graph, box, specification = task(family, 1, 1e-7)
    exact = exact_minimum(graph, box.lower[0], box.upper[0], specification.C[0, 0])
    bound = METHODS["capm"].margins(graph, box, specification, WorkBudget()).lower
    assert 0 <= exact - float(bound) <= 1e-3  # what single precision may round


def test_the_oracle_knows_fused_windows() -> None:
    graph, box, specification = task("pooled", 2, 0.01)
    ends = (box.lower[0], box.upper[0], specification.C[0, 0])
    assert exact_minimum(fuse_windows(graph), *ends) == pytest.approx(exact_minimum(graph, *ends), abs=1e-6)
