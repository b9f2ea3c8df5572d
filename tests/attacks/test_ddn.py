"""DDN against closed forms, on linear classifiers."""

import pytest
import torch
from torch import nn

from calipers.attacks import DDN, run_minimum_norm
from calipers.attacks.losses import cross_entropy, log_odds
from calipers.core.distances import Distance
from calipers.core.problem import MinimumNormProblem
from tests.attacks.linear import SHAPES, exact, linear
from tests.nets import dense


@pytest.mark.parametrize(("classes", "shape"), SHAPES)
def test_it_finds_the_distance_to_a_linear_boundary(classes: int, shape: tuple[int, ...]) -> None:
    net, problem = linear(classes, shape, Distance.L2, None)
    ratio = run_minimum_norm(DDN(300), net, problem, 0).distance / exact(net, problem)
    assert (ratio >= 1 - 1e-4).all()
    assert float(ratio.mean()) <= 1.06


def test_scaled_distances_are_scaled_answers() -> None:
    net, problem = linear(10, (1, 8, 8), Distance.L2, (0.0, 1.0))
    half = MinimumNormProblem(
        "linear", problem.sample_id, problem.center, Distance.L2, torch.tensor(0.35), (0.0, 1.0), problem.specification
    )
    one, two = (run_minimum_norm(DDN(60), net, task, 0).distance for task in (problem, half))
    assert torch.allclose(2 * one, two, rtol=1e-4)


def test_a_confident_network_has_a_gradient_too() -> None:
    """At a margin of thousands the cross-entropy is flat in float32; its direction is not."""
    net, problem = linear(4, (3, 4, 4), Distance.L2, None)
    loud = nn.Sequential(net, nn.Linear(4, 4, bias=False)).requires_grad_(False)
    dense(loud, 1).weight.copy_(1e4 * torch.eye(4))
    assert run_minimum_norm(DDN(100), loud, problem, 0).success.all()


def test_the_log_odds_point_as_the_cross_entropy_does() -> None:
    margins = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    odds, entropy = (torch.autograd.grad(loss(margins).sum(), margins)[0] for loss in (log_odds, cross_entropy))
    assert torch.allclose(nn.functional.normalize(odds), nn.functional.normalize(entropy))
