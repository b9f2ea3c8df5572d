"""The dispatch of `Nearest`, and masked gradients; what it must keep as an attack is in the contract battery."""

import math

import pytest
import torch
from torch import Tensor, nn

from calipers.attacks import PDGD, PDPGD, Nearest, run_minimum_norm
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.problem import MinimumNormProblem, Specification
from tests.contracts.test_minimum_norm_attacks import problem


@pytest.mark.parametrize("distance", Distance)
def test_in_each_distance_it_is_the_attack_that_it_records(distance: Distance) -> None:
    net, task = problem(distance, ids=(0, 2))
    attack = PDGD.within(60) if distance is Distance.L2 else PDPGD.within(distance, 60)
    mine, theirs = (run_minimum_norm(a, net, task, seed=4) for a in (Nearest(60), attack))
    assert torch.equal(mine.adversarial, theirs.adversarial)
    assert mine.method == "nearest"
    assert Nearest(60).parameters[distance] == {"attack": attack.name, **attack.parameters}


def test_a_budget_without_a_step_is_refused() -> None:
    with pytest.raises(InputError, match="budget: 3 propagations"):
        Nearest(3)


class Shell(nn.Module):
    """Two classes, whose margin is a function of the mean change of the values from 0.5.

    It rises from the centre to a ridge, so that gradients near the centre lead back to it. Beyond it is the boundary,
    and from `outer` on the first class again.
    """

    RIDGE, BOUNDARY = 0.15, 0.22

    def __init__(self, outer: float) -> None:
        super().__init__()
        self.outer = outer

    def forward(self, x: Tensor) -> Tensor:
        change = (x - 0.5).abs().flatten(1).mean(1)
        rise = 0.5 * (1 + change / self.RIDGE)
        fall = (self.BOUNDARY - change) / (self.BOUNDARY - self.RIDGE)
        margin = torch.minimum(rise, fall).maximum(20 * (change - self.outer))
        return torch.stack([margin, torch.zeros_like(margin)], 1)


@pytest.mark.parametrize(
    ("distance", "outer", "exact", "slack"),
    [
        (Distance.LINF, 1.0, Shell.BOUNDARY, 1.01),
        (Distance.L2, 1.0, Shell.BOUNDARY * 6, 1.01),
        (Distance.L1, 0.27, Shell.BOUNDARY * 36, 1.05),
        # Pixels move by 0.5 at most.
        (Distance.L0_PIXELS, 0.27, math.ceil(Shell.BOUNDARY * 72), 2.0),
    ],
)
def test_it_gets_out_of_where_gradients_lead_back_to_the_centre(distance, outer, exact, slack) -> None:
    center = torch.full((6, 1, 6, 6), 0.5)
    labels = Specification.classified_as(torch.zeros(6, dtype=torch.long), 2)
    task = MinimumNormProblem("shell", tuple(range(6)), center, distance, torch.ones(()), (0.0, 1.0), labels)
    ratio = run_minimum_norm(Nearest(500), Shell(outer), task, seed=0).distance / exact
    assert (ratio >= 1 - 1e-4).all()
    assert (ratio <= slack).all()
