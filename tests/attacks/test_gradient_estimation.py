"""PGD with estimated gradients against closed forms, and against PGD."""

import pytest
import torch
from torch import Tensor, nn

from calipers.attacks import PGD, EstimatedPGD, run_attack
from calipers.attacks.losses import smallest_margin
from calipers.attacks.query import Query
from calipers.core.norms import Norm
from calipers.core.problem import Problem
from calipers.core.sets import LpBall
from tests.attacks.linear import linear_balls
from tests.contracts.test_attacks import problem


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_on_a_linear_model_it_succeeds_exactly_beyond_the_distance_to_the_boundary(norm, scale) -> None:
    model, task, distance = linear_balls(norm, 0.5, scale)
    result = run_attack(EstimatedPGD(), model, task, 0)
    clear = (distance - 0.5).abs() > 5e-3
    assert torch.equal(result.success[clear], (distance < 0.5)[clear])
    assert 0 < int(result.success.sum()) < 16


class NoGradient(nn.Module):
    """A model whose outputs cannot be differentiated."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        assert not x.requires_grad
        return self.net(x).detach()


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_it_needs_no_gradient_and_breaks_what_pgd_breaks(norm: Norm) -> None:
    net, task = problem(norm, epsilon=0.1, ids=tuple(range(8)), family="conv")
    result = run_attack(EstimatedPGD(), NoGradient(net), task, 0)
    known = run_attack(PGD(), net, task, 0)
    assert not result.backwards.any()
    assert known.success.any()
    assert (result.success | ~known.success).all()


def test_a_step_costs_two_passes_a_pair_and_one() -> None:
    model, task, distance = linear_balls(Norm.L2, 0.5)
    result = run_attack(EstimatedPGD(steps=7, pairs=3), model, task, 0)
    assert (result.forwards[distance > 0.5] == 7 * (2 * 3 + 1) + 1).all()


def test_many_pairs_estimate_the_gradient() -> None:
    """On a linear model the error of a value falls as 1 / sqrt(pairs), whatever sigma is; scaled inputs included."""
    model, task, _ = linear_balls(Norm.L2, 0.5, 0.3)
    x = task.input_set.center.double()
    sets = LpBall(x, torch.full((16,), 0.5).double(), Norm.L2, torch.tensor(0.3).double(), None)
    query = Query(model.double(), Problem("linear", task.sample_id, sets, task.specification))
    _, exact = query.gradient(x, query.everyone, smallest_margin)
    for sigma in (0.001, 1.0):
        errors = []
        for pairs in (25, 2500):
            estimate = EstimatedPGD(pairs=pairs, sigma=sigma).estimate(query, query.everyone, x, 0, 0)
            errors.append(float((estimate - exact).norm() / exact.norm()))
        assert errors[1] < 0.1
        assert errors[0] / errors[1] == pytest.approx(10, rel=0.5)


def test_draws_differ_between_steps_samples_and_seeds() -> None:
    model, task, _ = linear_balls(Norm.L2, 0.5)
    twice = Problem("linear", (3, 4), task.input_set[[0, 0]], task.specification[[0, 0]])
    query = Query(model, twice)
    attack = EstimatedPGD(pairs=2)
    x = twice.input_set.center
    one, two, three = (attack.estimate(query, query.everyone, x, seed, step) for seed, step in [(0, 0), (0, 1), (1, 0)])
    again = attack.estimate(query, query.everyone[1:], x[1:], 0, 0)
    assert torch.allclose(again[0], one[1], rtol=1e-3)
    for other in (one[1], two[0], three[0]):
        assert not torch.allclose(one[0], other, rtol=1e-3)
