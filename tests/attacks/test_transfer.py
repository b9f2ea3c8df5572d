"""Transfer against closed forms on linear models, and against the same attack with the target's own gradients."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from calipers.attacks import APGD, FGSM, PGD, Attack, Transfer, attack_named, run_attack
from calipers.attacks.query import Query
from calipers.core.digests import digest_module
from calipers.core.errors import InputError, ModelError
from calipers.core.norms import Norm
from calipers.models.card import save_model
from tests.attacks.linear import linear_balls
from tests.contracts.test_attacks import problem


class Counter(nn.Module):
    """A model whose outputs cannot be differentiated, and the number of inputs it saw."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.seen = net, 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return self.net(x).detach()


@pytest.mark.parametrize("attack", [FGSM(), PGD(), APGD()])
def test_a_model_is_its_own_best_substitute(attack: Attack) -> None:
    net, task = problem(epsilon=0.05, ids=tuple(range(8)), family="conv")
    target = Counter(net)
    result = run_attack(Transfer(net, attack), target, task, 3)
    own = run_attack(attack, net, task, 3)
    assert torch.equal(result.adversarial, own.adversarial)
    assert torch.equal(result.forwards, own.forwards)
    # What is broken is evaluated once more, alone.
    assert int(result.forwards.sum()) == target.seen - int(result.success.sum())
    assert own.backwards.any()
    assert not result.backwards.any()


@pytest.mark.parametrize("attack", [FGSM(), PGD(restarts=1)])
def test_between_linear_models_it_moves_along_the_slopes_of_the_substitute(attack: Attack) -> None:
    target, task, own_distance = linear_balls(Norm.LINF, 0.5)
    substitute = nn.Linear(6, 2).requires_grad_(False)
    substitute.weight.copy_(target.weight)
    substitute.weight[:, :2] = target.weight[:, :2].flip(0)
    slope, theirs = ((one.weight[0] - one.weight[1]) for one in (target, substitute))
    margin = task.specification.margins(target(task.input_set.center))[:, 0]
    reached = margin - 0.5 * (slope * theirs.sign()).sum()
    result = run_attack(Transfer(substitute, attack), target, task, 0)
    assert torch.equal(result.success, reached <= 0)
    assert 0 < int(result.success.sum()) < int((own_distance <= 0.5).sum())


def test_it_goes_on_behind_the_boundary_of_the_substitute() -> None:
    """The substitute calls every centre wrong; its slopes still lead to the target's boundary."""
    target, task, distance = linear_balls(Norm.LINF, 0.5)
    sign = task.specification.C[:, 0, 0]
    for wrong in (1.0, -1.0):
        substitute = nn.Linear(6, 2).requires_grad_(False)
        substitute.weight.copy_(target.weight)
        substitute.bias.copy_(20 * wrong * torch.tensor([-1.0, 1.0]))
        result = run_attack(Transfer(substitute), target, task, 0)
        these = sign == wrong
        assert (task.specification.margins(substitute(task.input_set.center))[these] < -10).all()
        assert torch.equal(result.success[these], (distance < 0.5)[these])
        assert result.success[these].any()


class Jacobians:
    """Asks in the other ways of asking."""

    name = "jacobians"
    parameters: dict[str, Any] = {}  # noqa: RUF012  the protocol's
    norms = frozenset(Norm)

    def run(self, query: Query, seed: int) -> None:
        sets = query.problem.input_set
        _, slopes = query.jacobian(sets.center, query.everyone)
        query.logits(sets.project(sets.center - 0.5 * slopes[:, 0].sign()), query.everyone)


def test_points_asked_in_other_ways_are_put_to_the_target_too() -> None:
    target, task, distance = linear_balls(Norm.LINF, 0.5)
    substitute = nn.Linear(6, 2).requires_grad_(False)
    substitute.load_state_dict(target.state_dict())
    result = run_attack(Transfer(substitute, Jacobians()), target, task, 0)
    assert torch.equal(result.success, distance <= 0.5)
    assert (result.forwards == 2).all()
    assert not result.backwards.any()


@pytest.mark.parametrize(
    ("substitute", "message"),
    [
        (nn.Linear(6, 3), r"output has shape \(1, 3\); accepted: \(1, 2\)"),
        (nn.Linear(5, 2), r"cannot be called on a batch of shape \(1, 6\)"),
        (nn.Sequential(nn.Linear(6, 2), nn.Dropout()), "training mode"),
    ],
)
def test_a_substitute_that_does_not_fit_is_refused(substitute: nn.Module, message: str) -> None:
    target, task, _ = linear_balls(Norm.LINF, 0.5)
    with pytest.raises(InputError, match=f"the substitute does not fit the target, .*{message}"):
        run_attack(Transfer(substitute), target, task, 0)


def architecture() -> nn.Module:
    """What the card below names."""
    return nn.Linear(6, 2)


def test_the_card_of_a_model_names_a_substitute(tmp_path: Path) -> None:
    target, task, _ = linear_balls(Norm.LINF, 0.5)
    path = tmp_path / "substitute.json"
    origin: dict[str, Any] = {
        "architecture": f"{__name__}:architecture",
        "recipe": {},
        "seed": 0,
        "data_digest": "",
        "metrics": {},
    }
    save_model(target, path, **origin)
    attack = attack_named(f"transfer:{path}")
    assert attack.name == f"transfer:{path}"
    recorded = json.loads(json.dumps(attack.parameters))
    assert recorded["substitute"] == digest_module(target)
    assert recorded["attack"] == "pgd"
    assert recorded["settings"] == PGD().parameters
    result = run_attack(attack, target, task, 0)
    assert torch.equal(result.adversarial, run_attack(PGD(), target, task, 0).adversarial)


def test_a_name_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the zoo has no weights; accepted: the \.json card"):
        attack_named("transfer:capm.convsmall")
    with pytest.raises(ModelError, match="no such file"):
        attack_named(f"transfer:{tmp_path / 'none.json'}")
