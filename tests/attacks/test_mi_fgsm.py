import pytest
import torch
from torch import Tensor, nn

from calipers.attacks import MIFGSM, run_attack
from calipers.attacks.query import Query
from calipers.core.norms import Norm
from calipers.core.problem import Problem, Specification
from calipers.core.sets import LpBall
from tests.attacks.linear import linear_balls


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_on_a_linear_model_it_succeeds_exactly_beyond_the_distance_to_the_boundary(norm, scale) -> None:
    model, problem, distance = linear_balls(norm, 0.5, scale)
    result = run_attack(MIFGSM(), model, problem, 0)
    clear = (distance - 0.5).abs() > 1e-4
    assert torch.equal(result.success[clear], (distance < 0.5)[clear])
    assert 0 < int(result.success.sum()) < 16


class Bend(nn.Module):
    """Class 0 by 3 - x_0 up to x_0 = 0.5, from there on by the far smaller rise of x_1."""

    def forward(self, x: Tensor) -> Tensor:
        gain = torch.where(x[:, 0] < 0.5, x[:, 0], 0.5) + 0.001 * x[:, 1]
        return torch.stack([3 - gain, gain], 1)


def test_momentum_keeps_the_direction_of_the_gradients_before() -> None:
    """Behind the bend the gradient points along x_1 alone; with momentum 1 the steps go on along x_0 too."""
    x = torch.zeros(1, 2)
    ball = LpBall(x, torch.tensor([2.0]), Norm.L2, torch.ones(()), None)
    problem = Problem("bend", (0,), ball, Specification.classified_as(torch.tensor([0]), 2))
    seen: dict[float, Tensor] = {}
    for decay in (0.0, 1.0):
        query = Query(Bend(), problem)
        MIFGSM(steps=10, decay=decay).run(query, 0)
        seen[decay] = query.best[0]
    assert float(seen[0.0][0]) == pytest.approx(0.6, abs=0.01)
    assert float(seen[0.0][1]) == pytest.approx(1.4, abs=0.01)
    assert float(seen[1.0][0]) > 1.2
