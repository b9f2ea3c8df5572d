import torch
from torch import nn

from calipers.attacks import PGD, MonteCarlo, run_attack
from calipers.core.norms import Norm
from calipers.core.problem import Problem, Specification
from calipers.core.sets import LpBall


class Corner(nn.Module):
    """Class 1 wins in one corner of the cube only: the mean of the inputs must exceed 0.9."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.flatten(1).mean(1)
        return torch.stack([0.9 - mean, mean - 0.9], 1)


def problem(ids: tuple[int, ...]) -> Problem:
    x = torch.full((len(ids), 1, 5, 5), 0.5)
    sets = LpBall(x, torch.full((len(ids),), 0.5), Norm.LINF, torch.ones(()), (0.0, 1.0))
    return Problem("corner", ids, sets, Specification.classified_as(torch.zeros(len(ids)).long(), 2))


def test_random_points_miss_what_a_gradient_finds() -> None:
    sampled = run_attack(MonteCarlo(1000), Corner(), problem((0, 1, 2)), seed=0)
    climbed = run_attack(PGD(), Corner(), problem((0, 1, 2)), seed=0)
    assert not bool(sampled.success.any())
    assert bool(climbed.success.all())
    assert sampled.forwards.tolist() == [1000, 1000, 1000]


def test_points_of_a_sample_do_not_depend_on_its_batch() -> None:
    alone = run_attack(MonteCarlo(120), Corner(), problem((7,)), seed=3)
    among = run_attack(MonteCarlo(120), Corner(), problem((5, 7, 9)), seed=3)
    assert torch.equal(alone.adversarial[0], among.adversarial[1])
