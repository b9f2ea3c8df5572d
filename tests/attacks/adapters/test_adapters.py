"""What attacks of other libraries must keep: the same as ours, though they see one instance at a time."""

import json
import random
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from calipers.attacks import ATTACKS, PGD, attack_named, minimum_norm_attack_named, run_attack, run_minimum_norm
from calipers.attacks.adapters import AutoAttackMember, FoolboxAttack, FoolboxMinimumNorm
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.norms import Norm
from calipers.core.problem import MinimumNormProblem, Problem, Specification
from calipers.core.sets import Box, LpBall
from tests.attacks.linear import exact, linear
from tests.nets import dense, random_net

# Foolbox cannot be imported without git either.
pytest.importorskip("foolbox", exc_type=ImportError)
pytest.importorskip("pyautoattack", exc_type=ImportError)

FIXED = [
    ("foolbox:LinfPGD", Norm.LINF),
    ("foolbox:L2FastGradientAttack", Norm.L2),
    ("foolbox:SparseL1DescentAttack", Norm.L1),
    ("autoattack:apgd-ce", Norm.LINF),
    ("autoattack:apgd-dlr", Norm.L2),
    ("autoattack:fab-t", Norm.LINF),
    ("autoattack:square", Norm.LINF),
    ("autoattack:apgd-ce", Norm.L1),
]
NEAREST = [
    ("foolbox:L2CarliniWagnerAttack", Distance.L2),
    ("foolbox:DDNAttack", Distance.L2),
    ("foolbox:EADAttack", Distance.L1),
    ("foolbox:LInfFMNAttack", Distance.LINF),
    ("foolbox:HopSkipJumpAttack", Distance.L2),
    ("foolbox:L2BrendelBethgeAttack", Distance.L2),
    ("foolbox:L0BrendelBethgeAttack", Distance.L0_PIXELS),
    ("autoattack:fab", Distance.LINF),
    ("autoattack:fab-t", Distance.L1),
]
BUDGET = 200


def balls(norm: Norm, ids: tuple[int, ...] = (0, 1, 2), scale: float = 1.0) -> tuple[nn.Module, Problem]:
    """A small network on inputs in [0, 2] with trained parameters; scaled balls in which it can be broken."""
    net, shape = random_net("conv", 4)
    x = torch.rand(8, *shape, generator=torch.Generator().manual_seed(1))[list(ids)] * 2
    radius = torch.full((len(ids),), {Norm.LINF: 0.6, Norm.L2: 3.0, Norm.L1: 20.0}[norm] / scale)
    sets = LpBall(x, radius, norm, torch.tensor(scale), (0.0, 2.0))
    return net.requires_grad_(True), Problem("net", ids, sets, Specification.classified_as(net(x).argmax(1), 3))


class Counter(nn.Module):
    """Counts the inputs that pass, forwards and backwards."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.forwards, self.backwards = net, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += len(x)
        logits = self.net(x)
        if logits.requires_grad:
            logits.register_hook(self._back)
        return logits

    def _back(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


@pytest.mark.parametrize(("name", "norm"), FIXED)
def test_what_it_returns_is_in_the_set_and_grades_as_reported(name: str, norm: Norm) -> None:
    net, task = balls(norm, scale=0.5)
    counter = Counter(net)
    result = run_attack(attack_named(name), counter, task, 0)
    assert task.input_set.contains(result.adversarial).all()
    assert torch.allclose(task.specification.margins(net(result.adversarial)).amin(1), result.margin, atol=1e-6)
    assert result.success.any()
    assert result.method == name
    assert int(result.forwards.sum()) == counter.forwards - int(result.success.sum())
    assert int(result.backwards.sum()) == counter.backwards


@pytest.mark.parametrize(("name", "norm"), FIXED)
def test_it_depends_on_the_seed_and_its_own_instance_alone(name: str, norm: Norm) -> None:
    _, whole = balls(norm)
    net, part = balls(norm, (2,))
    torch.manual_seed(7)
    before = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].tolist(), random.getstate()
    one, two = (run_attack(attack_named(name), net, task, 3) for task in (whole, part))
    assert torch.allclose(one.adversarial[2:], two.adversarial, atol=1e-6)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state(legacy=False)["state"]["key"].tolist() == before[1]
    assert random.getstate() == before[2]


@pytest.mark.parametrize(("name", "norm"), FIXED)
def test_the_model_is_left_as_it_was(name: str, norm: Norm) -> None:
    net, task = balls(norm, (0,))
    run_attack(attack_named(name), net, task, 0)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize(("name", "distance"), NEAREST)
def test_the_nearest_query_counts_within_the_budget(name: str, distance: Distance) -> None:
    net, task = linear(4, (3, 4, 4), distance, (0.0, 1.0))
    counter = Counter(net)
    result = run_minimum_norm(minimum_norm_attack_named(name)(BUDGET), counter, task[[0, 1, 2]], 0)
    assert (result.forwards + result.backwards <= BUDGET).all()
    assert int(result.forwards.sum()) == counter.forwards - int(result.success.sum())
    assert int(result.backwards.sum()) == counter.backwards
    assert result.success.all()
    assert torch.allclose(task[[0, 1, 2]].measure(result.adversarial), result.distance)
    # Without a domain the boundary is nearer, where the distance is a norm.
    free = task if distance.norm is None else replace(task, domain=None)
    ratio = result.distance / exact(net, free)[:3]
    assert (ratio >= 1 - 1e-4).all()
    assert float(ratio.mean()) <= (1.5 if name.endswith(("DDNAttack", "FMNAttack")) else 20)


@pytest.mark.parametrize(("name", "distance"), NEAREST)
def test_nearest_queries_depend_on_the_seed_and_their_own_instance_alone(name: str, distance: Distance) -> None:
    net, task = linear(4, (3, 4, 4), distance, (0.0, 1.0))
    attack = minimum_norm_attack_named(name)(BUDGET)
    one, two = (run_minimum_norm(attack, net, task[ids], 3) for ids in ([4, 5], [5]))
    assert torch.allclose(one.distance[1:], two.distance, rtol=1e-4)


def test_libraries_and_our_own_code_agree_on_what_pgd_can_break() -> None:
    net, task = balls(Norm.LINF, tuple(range(8)))
    ours, theirs = (run_attack(a, net, task, 0) for a in (PGD(), attack_named("autoattack:apgd-ce")))
    assert torch.equal(ours.success, theirs.success)


@pytest.mark.parametrize(
    ("attack", "library", "setting"),
    [
        (FoolboxAttack("LinfPGD", {"steps": 3}), "foolbox 3.", "steps=3"),
        (FoolboxMinimumNorm("LInfFMNAttack", 52), "foolbox 3.", "steps=25"),
        (FoolboxMinimumNorm("L2CarliniWagnerAttack", 182), "foolbox 3.", "steps=10"),
        (FoolboxMinimumNorm("EADAttack", 181, {"steps": 7}), "foolbox 3.", "steps=7"),
        (AutoAttackMember("standard"), "pyautoattack 0.", "5000"),
    ],
)
def test_what_it_ran_with_can_be_recorded(attack, library: str, setting: str) -> None:
    recorded = json.dumps(attack.parameters)
    assert library in recorded
    assert setting in recorded


def test_names_without_a_colon_are_our_own() -> None:
    assert attack_named("pgd") is ATTACKS["pgd"]
    assert minimum_norm_attack_named("ddn")(50).name == "ddn"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("foolbox:LinfPDG", "did you mean .*LinfPGD"),
        ("foolbox:L2CarliniWagnerAttack", "fixed-epsilon attack of foolbox"),
        ("foolbox:VirtualAdversarialAttack", "cannot be made with .*steps"),
        ("autoattack:apgd", "did you mean .*apgd-"),
        ("foolbax:LinfPGD", "did you mean foolbox"),
        ("pdg", "did you mean .*pgd"),
    ],
)
def test_unknown_names_suggest_close_ones(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        attack_named(name)


def test_a_fixed_epsilon_attack_is_no_minimum_norm_attack() -> None:
    with pytest.raises(InputError, match="minimum-norm attack of foolbox 'LinfPGD' is unknown"):
        minimum_norm_attack_named("foolbox:LinfPGD")


@pytest.mark.parametrize(("module", "name"), [("foolbox.attacks", "foolbox:FGSM"), ("pyautoattack", "autoattack:fab")])
def test_a_missing_library_is_named_with_the_extra_that_has_it(monkeypatch, module: str, name: str) -> None:
    for loaded in [entry for entry in sys.modules if entry == module or entry.startswith(module + ".")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"cannot run: .*pip install 'calipers\[peers\]'"):
        attack_named(name)


def test_what_a_library_cannot_express_is_refused() -> None:
    net, task = balls(Norm.LINF)
    attack = attack_named("foolbox:LinfPGD")
    sets = task.input_set
    assert isinstance(sets, LpBall)
    box = sets.box()
    scales = torch.tensor([0.5, 0.8])[:, None, None]
    aimed = Specification.ranks_above(torch.zeros(3).long(), torch.ones(3).long(), 3)
    for changed, message in [
        (replace(task, input_set=Box(box.lower, box.upper)), "searches balls, not Box"),
        (replace(task, input_set=replace(sets, domain=None)), "accepted: a threat model with a domain"),
        (replace(task, input_set=replace(sets, scale=scales)), "one scale for all values, not 0.5 to 0.8"),
        (replace(task, specification=aimed), "another class than the label"),
    ]:
        with pytest.raises(InputError, match=message):
            run_attack(attack, net, changed, 0)


def test_an_attack_that_needs_a_target_is_refused() -> None:
    net, task = balls(Norm.LINF)
    with pytest.raises(InputError, match="'foolbox:GenAttack' needs a target class"):
        run_attack(attack_named("foolbox:GenAttack"), net, task, 0)


@pytest.mark.parametrize(("name", "norm"), FIXED)
def test_double_precision_stays_double_and_costs_no_more(name: str, norm: Norm) -> None:
    """Libraries that know single precision alone miss the ball by its rounding; that must not hide what they find."""
    net, task = balls(norm)
    single = run_attack(attack_named(name), net, task, 0)
    sets = task.input_set
    assert isinstance(sets, LpBall)
    wide = LpBall(sets.center.double(), sets.radius.double(), norm, sets.scale.double(), sets.domain)
    double = run_attack(attack_named(name), net.double(), replace(task, input_set=wide), 0)
    assert double.adversarial.dtype == torch.float64
    assert torch.equal(double.success, single.success)
    assert wide.contains(double.adversarial).all()
    if name.startswith("autoattack"):  # the draws of foolbox depend on the precision
        assert torch.equal(double.forwards, single.forwards)


def test_losses_that_need_more_classes_say_so() -> None:
    net, task = balls(Norm.LINF)
    with pytest.raises(InputError, match="3 classes; accepted: 4 or more"):
        run_attack(attack_named("autoattack:apgd-t"), net, task, 0)


def test_what_a_library_returns_unasked_counts_too() -> None:
    """The inverted image is the whole attack; it is not put to the model by the library."""
    net, task = linear(10, (1, 8, 8), Distance.L2, (0.0, 1.0))
    inverted = 1 - task.center
    broken = task.specification.margins(net(inverted)).amin(1) < 0
    result = run_minimum_norm(FoolboxMinimumNorm("InversionAttack", 5), net, task, 0)
    assert torch.equal(result.success, broken)
    assert broken.any()
    assert torch.allclose(result.distance[broken], task.measure(inverted)[broken])
    assert (result.forwards == 2).all()


def test_an_attack_that_finds_no_start_finds_nothing() -> None:
    """Boundary attacks start from a broken input; where every input has the label there is none."""
    net, task = linear(2, (20,), Distance.L2, (0.0, 1.0))
    label = int(net(task.center[:1]).argmax())
    dense(net, 1).bias[label] += 1e3
    with pytest.warns(UserWarning, match="failed to draw"):
        result = run_minimum_norm(FoolboxMinimumNorm("HopSkipJumpAttack", 20_000), net, task[[0]], 0)
    assert not result.success.any()


def test_without_room_for_a_pass_nothing_is_found() -> None:
    net, task = linear(2, (20,), Distance.L2, (0.0, 1.0))
    assert isinstance(task, MinimumNormProblem)
    result = run_minimum_norm(FoolboxMinimumNorm("DDNAttack", 1), net, task[[0]], 0)
    assert result.forwards.tolist() == [1]
    assert not result.success.any()
