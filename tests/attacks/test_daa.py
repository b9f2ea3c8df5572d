"""DAA against closed forms, the definition of its repulsion, and PGD."""

import math

import pytest
import torch
from torch import Tensor, nn

from calipers.attacks import DAA, PGD, run_attack
from calipers.attacks.daa import repulsion
from calipers.attacks.query import Query
from calipers.core.norms import Norm
from calipers.core.problem import Problem, Specification
from calipers.core.sets import LpBall
from tests.attacks.linear import linear_balls
from tests.contracts.test_attacks import problem


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_on_a_linear_model_it_succeeds_exactly_beyond_the_distance_to_the_boundary(scale: float) -> None:
    model, task, distance = linear_balls(Norm.LINF, 0.5, scale)
    result = run_attack(DAA(), model, task, 0)
    clear = (distance - 0.5).abs() > 1e-3
    assert torch.equal(result.success[clear], (distance < 0.5)[clear])
    assert 0 < int(result.success.sum()) < 16


def test_repulsion_goes_down_the_gradient_of_the_smoothed_density() -> None:
    x = torch.randn(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    squares = (x[:, :, None] - x[:, None]).square().sum(3)
    apart = ~torch.eye(5, dtype=torch.bool)
    # Every pair is there twice, so the lower median of these is that of the pairs.
    h = squares.detach()[:, apart].median(1).values / math.log(6)
    density = torch.exp(-squares / h[:, None, None]).sum(2).log().sum()
    (gradient,) = torch.autograd.grad(density, x)
    assert torch.allclose(repulsion(x.detach()), -gradient)
    assert gradient.abs().max() > 0.1


def test_particles_at_one_place_stay_finite_and_one_alone_is_free() -> None:
    assert torch.isfinite(repulsion(torch.ones(2, 4, 3))).all()
    assert torch.equal(repulsion(torch.randn(2, 1, 3)), torch.zeros(2, 1, 3))


def test_one_particle_is_pgd_from_the_centre() -> None:
    net, task = problem(epsilon=0.1, ids=tuple(range(8)))
    one = run_attack(DAA(steps=20, starts=1, step_size=0.1), net, task, 0)
    two = run_attack(PGD(steps=20, restarts=1, step_size=0.1), net, task, 0)
    assert torch.equal(one.adversarial, two.adversarial)
    assert torch.equal(one.forwards, two.forwards)


class Corner(nn.Module):
    """A slope to the left, but for one corner of the square [-1, 1]^2, on the right, where class 1 wins."""

    def forward(self, x: Tensor) -> Tensor:
        inside = torch.relu(x - 0.95).prod(1)
        return torch.stack([1 - 1e4 * inside + 1e-3 * x[:, 0], inside], 1)


def test_particles_reach_a_corner_to_which_no_gradient_leads() -> None:
    x = torch.zeros(20, 2)
    ball = LpBall(x, torch.ones(20), Norm.LINF, torch.ones(()), None)
    task = Problem("corner", tuple(range(20)), ball, Specification.classified_as(torch.zeros(20).long(), 2))
    queries = [Query(Corner(), task) for _ in range(2)]
    for query, strength in zip(queries, (1.0, 0.0), strict=True):  # alone: no search without gradients joins
        DAA(starts=8, repulsion=strength).run(query, 0)
    driven, free = (query.best_margin <= 0 for query in queries)
    assert int(free.sum()) <= 1
    assert float(driven.float().mean()) >= 0.8


def test_all_particles_of_an_image_stop_when_one_breaks_it() -> None:
    model, task, distance = linear_balls(Norm.LINF, 0.5)
    query = Query(model, task)
    DAA(steps=30, starts=3, step_size=0.2).run(query, 0)
    assert (query.forwards % 3 == 0).all()
    assert (query.forwards[distance > 0.51] == 3 * 31).all()
    assert (query.forwards[distance < 0.49] < 3 * 31).all()
