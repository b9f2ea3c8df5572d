"""The dispatch of `Nearest`; what it must keep as an attack is in the contract battery."""

import pytest
import torch

from calipers.attacks import PDGD, PDPGD, Nearest, run_minimum_norm
from calipers.core.distances import Distance
from calipers.core.errors import InputError
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
