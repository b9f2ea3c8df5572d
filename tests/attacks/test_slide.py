import pytest
import torch

from calipers.attacks import SLIDE, run_attack
from calipers.core.norms import Norm
from calipers.core.sets import LpBall
from tests.attacks.linear import linear_balls


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_on_a_linear_model_it_succeeds_exactly_beyond_the_distance_to_the_boundary(scale: float) -> None:
    """In 6 dimensions the 95 % quantile leaves one value, which is where an l1 ball is reached best."""
    model, problem, distance = linear_balls(Norm.L1, 0.8, scale)
    result = run_attack(SLIDE(steps=20), model, problem, 0)
    clear = (distance - 0.8).abs() > 1e-3
    assert torch.equal(result.success[clear], (distance < 0.8)[clear])
    assert 0 < int(result.success.sum()) < 16


@pytest.mark.parametrize(("quantile", "moved"), [(0.0, 100), (0.5, 50), (0.95, 5), (1.0, 1)])
def test_steps_move_the_share_of_values_above_the_quantile_equally(quantile: float, moved: int) -> None:
    x = torch.zeros(3, 100)
    sets = LpBall(x, torch.tensor([1.0, 2.0, 3.0]), Norm.L1, torch.tensor(0.5), None)
    gradient = torch.randn(3, 100)
    step = SLIDE(step_size=0.1, quantile=quantile).step(sets, x, gradient)
    assert ((step != 0).sum(1) == moved).all()
    assert torch.allclose(sets.distance(x + step), 0.1 * sets.radius)
    assert (step * gradient >= 0).all()


def test_values_at_the_edge_of_the_domain_stay() -> None:
    sets = LpBall(torch.tensor([[1.0, 0.5, 0.5]]), torch.ones(1), Norm.L1, torch.ones(()), (0.0, 1.0))
    step = SLIDE(step_size=0.1).step(sets, sets.center, torch.tensor([[3.0, 2.0, 1.0]]))
    assert torch.allclose(step, torch.tensor([[0.0, 0.1, 0.0]]))
