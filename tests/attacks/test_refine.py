import pytest
import torch
from torch import nn

from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.refine import project, refine
from calipers.core.distances import Distance
from calipers.core.problem import MinimumNormProblem, Specification
from tests.nets import nearest_query


def query(distance: Distance) -> NearestQuery:
    """Class 0 while the values sum to less than 1; centres at 0."""
    net = nn.Linear(4, 2, bias=False).requires_grad_(False)
    net.weight.copy_(torch.tensor([[-1.0] * 4, [1.0] * 4]))
    model = nn.Sequential(net)
    specification = Specification(torch.tensor([[[1.0, -1.0]]]).expand(2, 1, 2), torch.full((2, 1), 2.0))
    problem = MinimumNormProblem("sum", (0, 1), torch.zeros(2, 4), distance, torch.ones(()), None, specification)
    return nearest_query(model, problem)


@pytest.mark.parametrize("distance", [Distance.LINF, Distance.L2, Distance.L1])
def test_the_way_back_ends_at_the_boundary(distance: Distance) -> None:
    asked = query(distance)
    far = torch.tensor([[1.0, 1.0, 1.0, 1.0], [2.0, 0.6, 0.6, 0.6]])
    asked.margins(far, torch.arange(2))
    refine(asked, 40)
    assert torch.allclose(asked.best.sum(1), torch.ones(2), atol=1e-4)
    assert asked.forwards.tolist() == [41, 41]
    assert asked.backwards.tolist() == [0, 0]


@pytest.mark.parametrize("distance", [Distance.L0_PIXELS, Distance.L0_VALUES])
def test_counts_drop_what_is_not_needed_and_then_stop(distance: Distance) -> None:
    asked = query(distance)
    asked.margins(torch.tensor([[0.6, 0.2, 0.2, 0.3], [2.0, 0.1, 0.1, 0.1]]), torch.arange(2))
    refine(asked, 20)
    assert asked.best_distance.tolist() == [3, 1]
    assert torch.allclose(asked.best, torch.tensor([[0.6, 0.2, 0.0, 0.3], [2.0, 0.0, 0.0, 0.0]])) or torch.allclose(
        asked.best, torch.tensor([[0.6, 0.0, 0.2, 0.3], [2.0, 0.0, 0.0, 0.0]])
    )
    assert int(asked.forwards.max()) < 6


def test_nothing_found_costs_nothing() -> None:
    asked = query(Distance.L2)
    refine(asked, 10)
    assert asked.forwards.tolist() == [0, 0]


@pytest.mark.parametrize("distance", Distance)
def test_projections_have_the_size(distance: Distance) -> None:
    r = torch.randn(3, 2, 3, 3, dtype=torch.float64)
    radius = torch.tensor([2.0, 1.0, 0.0] if distance.norm is None else [0.5, 0.1, 0.0], dtype=torch.float64)
    assert torch.allclose(distance(project(distance, r, radius)), radius)
    assert torch.allclose(project(distance, r, torch.full((3,), 100.0, dtype=torch.float64)), r)
