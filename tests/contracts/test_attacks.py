"""What every attack must keep, whoever wrote it. A new attack joins by its name in the registry."""

from copy import deepcopy
from dataclasses import fields, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from calipers.attacks import ATTACKS, run_attack
from calipers.attacks.query import Query
from calipers.core.devices import moved
from calipers.core.errors import InputError
from calipers.core.norms import Norm
from calipers.core.problem import Problem, Specification
from calipers.core.sets import Box, LpBall
from tests.elsewhere import elsewhere
from tests.nets import random_net


def problem(
    norm: Norm = Norm.LINF, epsilon: float = 0.3, ids: tuple[int, ...] = (0, 1, 2, 3), family: str = "pooled"
) -> tuple[nn.Module, Problem]:
    net, shape = random_net(family, 4)
    x = torch.rand(8, *shape, generator=torch.Generator().manual_seed(1))[list(ids)]
    labels = net(x).argmax(1)
    reach = {Norm.LINF: 1.0, Norm.L2: 3.0, Norm.L1: 10.0}[norm]
    sets = LpBall(x, torch.full((len(x),), epsilon * reach), norm, torch.ones(()), (0.0, 1.0))
    return net, Problem("net", ids, sets, Specification.classified_as(labels, 3))


CASES = [(name, norm) for name in ATTACKS for norm in sorted(ATTACKS[name].norms)]
# monte-carlo-1000 with more draws: one test of it is enough.
SLOW = ("monte-carlo-10000",)
EACH = [name for name in ATTACKS if name not in SLOW]
each = pytest.mark.parametrize(("name", "norm"), [case for case in CASES if case[0] not in SLOW])


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_what_it_returns_is_in_the_set_and_grades_as_reported(name: str, norm: Norm) -> None:
    net, task = problem(norm)
    result = run_attack(ATTACKS[name], net, task, seed=0)
    assert task.input_set.contains(result.adversarial).all()
    margins = task.specification.margins(net(result.adversarial)).amin(1)
    assert torch.allclose(margins, result.margin, atol=1e-5)  # the larger of the margins in a batch and alone
    assert torch.equal(result.success, result.margin <= 0)
    assert torch.allclose(task.input_set.distance(result.adversarial), result.distance)
    assert torch.equal(net(result.adversarial).argmax(1), result.prediction)


@each
def test_it_breaks_an_unprotected_network_in_a_large_ball(name: str, norm: Norm) -> None:
    net, task = problem(norm, ids=tuple(range(8)), family="conv")
    result = run_attack(ATTACKS[name], net, task, seed=0)
    assert float(result.success.float().mean()) >= 0.5


@each
def test_it_is_reproducible_bit_for_bit(name: str, norm: Norm) -> None:
    net, task = problem(norm, epsilon=0.05)
    one, two = (run_attack(ATTACKS[name], net, task, seed=3) for _ in range(2))
    assert torch.equal(one.adversarial, two.adversarial)


@each
def test_a_sample_does_not_depend_on_the_batch_around_it(name: str, norm: Norm) -> None:
    net, task = problem(norm, epsilon=0.05)
    sets = task.input_set
    assert isinstance(sets, LpBall)
    wide = LpBall(sets.center.double(), sets.radius.double(), norm, sets.scale.double(), sets.domain)
    task = replace(task, input_set=wide)
    whole, part = (run_attack(ATTACKS[name], net.double(), one, seed=3) for one in (task, task[[2, 1]]))
    assert torch.allclose(whole.adversarial[[2, 1]], part.adversarial, atol=1e-9)
    assert torch.equal(whole.forwards[[2, 1]], part.forwards)


# Where operations are intercepted one by one, a few steps say as much as a hundred.
SHORT = {"steps": 3, "restarts": 1, "samples": 20, "draws": 4, "particles": 2}


@pytest.mark.parametrize("name", [name for name in EACH if name != "monte-carlo-1000"])
def test_it_follows_its_inputs_to_another_device(name: str) -> None:
    attack: Any = ATTACKS[name]
    attack = replace(attack, **{f.name: SHORT[f.name] for f in fields(attack) if f.name in SHORT})
    net, task = problem(min(attack.norms), ids=(0, 1), epsilon=0.05)
    here = run_attack(attack, net, task, seed=3)
    with elsewhere() as device:
        there = run_attack(attack, deepcopy(net).to(device), moved(task, device), seed=3)
        assert there.adversarial.device == device
        assert torch.equal(there.adversarial.cpu(), here.adversarial)
        assert torch.equal(there.forwards.cpu(), here.forwards)


@each
def test_passes_are_counted(name: str, norm: Norm) -> None:
    net, task = problem(norm)
    forwards = backwards = 0

    def back(gradient: Tensor) -> None:
        nonlocal backwards
        backwards += len(gradient)

    def count(module: nn.Module, inputs: tuple[Tensor], logits: Tensor) -> None:
        nonlocal forwards
        forwards += len(inputs[0])
        if logits.requires_grad:
            logits.register_hook(back)

    handle = net.register_forward_hook(count)
    result = run_attack(ATTACKS[name], net, task, seed=0)
    handle.remove()
    # The grading itself is not the attack's: what is broken once more, alone; what no query was or is moved, once.
    graded = forwards - int(result.forwards.sum())
    assert int(result.success.sum()) <= graded <= len(task) + int(result.success.sum())
    assert norm is not Norm.LINF or graded == int(result.success.sum())
    assert int(result.backwards.sum()) == backwards
    assert bool((result.backwards <= result.forwards).all())


@pytest.mark.parametrize("name", EACH)
def test_an_empty_ball_holds_the_centre_only(name: str) -> None:
    net, task = problem(min(ATTACKS[name].norms), epsilon=0.0)
    result = run_attack(ATTACKS[name], net, task, seed=0)
    assert torch.equal(result.adversarial, task.input_set.center)


@pytest.mark.parametrize("name", [name for name in EACH if Norm.LINF in ATTACKS[name].norms])
def test_boxes_are_searched_as_linf(name: str) -> None:
    net, task = problem()
    box = task.input_set.box()
    boxed = Problem("net", task.sample_id, Box(box.lower, box.upper), task.specification)
    result = run_attack(ATTACKS[name], net, boxed, seed=0)
    assert boxed.input_set.contains(result.adversarial).all()


@pytest.mark.parametrize("name", ATTACKS)
def test_a_norm_it_does_not_know_is_refused(name: str) -> None:
    unknown = set(Norm) - ATTACKS[name].norms
    for norm in unknown:
        net, task = problem(norm)
        with pytest.raises(InputError, match=f"searches .* balls, not {norm}"):
            run_attack(ATTACKS[name], net, task, seed=0)


def test_a_cheating_attack_gains_nothing() -> None:
    """Points outside the set never count, whatever they do to the model."""

    class Cheat:
        name = "cheat"
        parameters: ClassVar[dict] = {}
        norms = frozenset(Norm)

        def run(self, query: Query, seed: int) -> None:
            x = query.problem.input_set.center + 100 * torch.randn_like(query.problem.input_set.center)
            query.margins(x, torch.arange(len(x)))

    net, task = problem(epsilon=0.001)
    result = run_attack(Cheat(), net, task, seed=0)
    assert torch.equal(result.adversarial, task.input_set.center)
    assert not bool(result.success.any())
