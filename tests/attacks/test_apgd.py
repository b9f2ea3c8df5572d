import pytest
import torch

from calipers.attacks import APGD, PGD, run_attack
from calipers.attacks.apgd import checkpoints
from calipers.attacks.query import Query
from calipers.core.norms import Norm
from calipers.core.problem import Problem, Specification
from calipers.core.sets import LpBall
from tests.attacks.linear import linear_balls
from tests.nets import random_net


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_on_a_linear_model_it_succeeds_exactly_beyond_the_distance_to_the_boundary(norm, scale) -> None:
    model, problem, distance = linear_balls(norm, 0.5, scale)
    result = run_attack(APGD(steps=50), model, problem, 0)
    clear = (distance - 0.5).abs() > 1e-3
    assert torch.equal(result.success[clear], (distance < 0.5)[clear])
    assert 0 < int(result.success.sum()) < 16


def test_checkpoints_are_those_of_the_paper() -> None:
    """p_1 = 0.22, p_j+1 = p_j + max(p_j - p_j-1 - 0.03, 0.06)."""
    assert checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_without_a_step_size_it_climbs_as_high_as_pgd_with_a_good_one(norm: Norm) -> None:
    """On instances that cannot be broken: a constant keeps every row far from 0."""
    net, shape = random_net("conv", 4)
    x = torch.rand(8, *shape, generator=torch.Generator().manual_seed(1))
    safe = Specification.classified_as(net(x).argmax(1), 3)
    safe = Specification(safe.C, safe.d + 5.0)
    radius = torch.full((8,), 0.05 if norm is Norm.LINF else 0.5)
    problem = Problem("net", tuple(range(8)), LpBall(x, radius, norm, torch.ones(()), (0.0, 1.0)), safe)
    reached = {}
    for attack in (APGD(), PGD(steps=100, restarts=1)):
        query = Query(net, problem)
        attack.run(query, 0)
        reached[attack.name] = query.best_margin
        assert (query.forwards == 101).all()
    gain = {name: float((safe.margins(net(x)).amin(1) - margin).mean()) for name, margin in reached.items()}
    assert gain["apgd"] >= 0.99 * gain["pgd"] > 0
