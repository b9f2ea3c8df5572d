"""Attacks in turn: the best point of all counts, and what one has broken costs the next nothing."""

import json

import pytest
import torch

from calipers.attacks import DDN, PGD, DeepFool, run_attack, run_minimum_norm
from calipers.attacks.several import Several, SeveralNearest
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.norms import Norm
from tests.attacks.linear import linear, linear_balls

SIZES = (1.0, 0.02)


def test_what_one_of_them_breaks_is_broken() -> None:
    model, problem, _ = linear_balls(Norm.LINF, 0.5)
    each = [PGD(steps=10, restarts=1, step_size=size) for size in SIZES]
    alone = [run_attack(one, model, problem, 0) for one in each]
    together = run_attack(Several("both", tuple(each)), model, problem, 0)
    assert torch.equal(together.success, alone[0].success | alone[1].success)
    # Ten steps of 1/50 of the radius do not get there, one of the whole radius does.
    assert int(alone[1].success.sum()) < int(alone[0].success.sum())
    assert together.method == "both"


def test_what_is_broken_already_is_not_attacked_again() -> None:
    model, problem, _ = linear_balls(Norm.LINF, 0.5)
    once = run_attack(PGD(steps=10, restarts=1, step_size=1.0), model, problem, 0)
    twice = run_attack(Several("twice", (PGD(steps=10, restarts=1, step_size=1.0),) * 2), model, problem, 0)
    assert torch.equal(twice.forwards[once.success], once.forwards[once.success])
    assert (twice.forwards[~once.success] == 2 * once.forwards[~once.success]).all()


def test_the_nearest_of_all_counts() -> None:
    net, problem = linear(4, (3, 4, 4), Distance.L2, (0.0, 1.0))
    each = (DeepFool(Distance.L2, 50), DDN(60))
    alone = [run_minimum_norm(one, net, problem, 0) for one in each]
    together = run_minimum_norm(SeveralNearest("both", each), net, problem, 0)
    assert torch.allclose(together.distance, torch.minimum(alone[0].distance, alone[1].distance))
    assert (together.forwards == alone[0].forwards + alone[1].forwards - 1).all()  # the centre's pass is shared


def test_they_know_what_all_of_them_know_and_can_be_recorded() -> None:
    both = SeveralNearest("both", (DeepFool(Distance.L2, 50), DDN(60)))
    assert both.distances == {Distance.L2}
    assert [one["name"] for one in json.loads(json.dumps(both.parameters))["attacks"]] == ["deepfool-l2", "ddn"]
    net, problem = linear(4, (3, 4, 4), Distance.LINF, None)
    with pytest.raises(InputError, match="minimises l2, not linf"):
        run_minimum_norm(both, net, problem, 0)
    assert Several("pgd", (PGD(),)).norms == PGD().norms
