"""What every minimum-norm attack must keep, whoever wrote it. A new one joins by its name in the registry."""

import json
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from calipers.attacks import (
    MINIMUM_NORM_ATTACKS,
    PDGD,
    PDPGD,
    MinimumNormAttack,
    OnePixel,
    at_epsilon,
    run_minimum_norm,
)
from calipers.core.devices import moved
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.problem import MinimumNormProblem, Specification
from calipers.core.results import Counterexample
from tests.elsewhere import elsewhere
from tests.nets import dense, random_net

BUDGET = 60
ATTACKS: dict[str, MinimumNormAttack] = {name: MINIMUM_NORM_ATTACKS[name](BUDGET) for name in MINIMUM_NORM_ATTACKS}
ATTACKS |= {"pdgd-author": PDGD.author(steps=20, starts=2), "pdgd-text": PDGD.text(steps=30, starts=2)}
for _distance in (Distance.LINF, Distance.L1, Distance.L0_PIXELS):
    ATTACKS[f"pdpgd-{_distance}-author"] = PDPGD.author(_distance, steps=20, starts=2)
    ATTACKS[f"pdpgd-{_distance}-text"] = PDPGD.text(_distance, rate=1.0, steps=60, starts=2)
# A random search sees no gradient: 60 passes are too few to find anything, and the target below is beyond 12 pixels.
ATTACKS["one-pixel"] = OnePixel(3000, pixels=(1, 3, 5, 8, 12, 24))
CASES = [(name, distance) for name in sorted(ATTACKS) for distance in sorted(ATTACKS[name].distances)]
# They stop at the first input that is broken, or broken with the confidence asked for, whatever is left to spend.
STOPS_EARLY = ("deepfool-l2", "deepfool-linf", "high-confidence", "jsma", "one-pixel", "sparsefool")
each = pytest.mark.parametrize(("name", "distance"), CASES)


def problem(
    distance: Distance, ids: tuple[int, ...] = (0, 1, 2, 3, 4, 5), classes: int = 3, dtype: torch.dtype = torch.float32
) -> tuple[nn.Module, MinimumNormProblem]:
    """A convolutional network with 2 channels of different scale; sample 1 is labelled wrongly."""
    net, shape = random_net("conv", 5)
    net[-1] = nn.Linear(dense(net, -1).in_features, classes)
    torch.manual_seed(3)
    nn.init.normal_(dense(net, -1).weight, std=0.5)
    net = net.to(dtype).requires_grad_(False)
    x = torch.rand(8, *shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    labels = net(x).argmax(1)
    labels[1] = (labels[1] + 1) % classes
    chosen = list(ids)
    specification = Specification.classified_as(labels[chosen], classes)
    scale = torch.tensor([0.5, 0.8], dtype=dtype)[:, None, None]
    return net, MinimumNormProblem("net", ids, x[chosen], distance, scale, (0.0, 1.0), specification)


class Recorder(nn.Module):
    """Keeps what the network saw: the inputs of all passes, and how many inputs went backwards."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.seen: list[Tensor] = []
        self.backwards = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        logits = self.net(x)
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


@each
def test_what_it_returns_is_in_the_domain_and_misclassified_and_as_far_as_recorded(name, distance) -> None:
    net, task = problem(distance)
    result = run_minimum_norm(ATTACKS[name], net, task, seed=0)
    assert task.admits(result.adversarial).all()
    assert result.success.all()
    for i in range(len(task)):
        alone = task.specification[i : i + 1].margins(net(result.adversarial[i : i + 1])).amin(1)
        assert float(alone) <= 0
        assert torch.allclose(alone, result.margin[i : i + 1], atol=1e-5)
    assert torch.allclose(task.measure(result.adversarial), result.distance)
    assert torch.equal(net(result.adversarial).argmax(1), result.prediction)


@each
def test_the_nearest_of_all_queries_counts(name: str, distance: Distance) -> None:
    net, task = problem(distance, ids=(2,))
    recorder = Recorder(net)
    result = run_minimum_norm(ATTACKS[name], recorder, task, seed=0)
    nearest = min(
        float(task.measure(x)) for x in recorder.seen if float(task.specification.margins(net(x)).min()) <= -1e-5
    )
    assert float(result.distance) <= nearest * (1 + 1e-6)


@each
def test_passes_are_those_the_model_saw(name: str, distance: Distance) -> None:
    net, task = problem(distance)
    recorder = Recorder(net)
    result = run_minimum_norm(ATTACKS[name], recorder, task, seed=0)
    # A success is evaluated once more, alone; centres that are broken already are successes.
    assert int(result.forwards.sum()) == sum(len(x) for x in recorder.seen) - int(result.success.sum())
    assert int(result.backwards.sum()) == recorder.backwards


@pytest.mark.parametrize("name", MINIMUM_NORM_ATTACKS)
@pytest.mark.parametrize("budget", [50, 333])
def test_the_budget_is_kept_and_used(name: str, budget: int) -> None:
    attack = MINIMUM_NORM_ATTACKS[name](budget)
    for distance in sorted(attack.distances):
        net, task = problem(distance, ids=(0, 2))
        result = run_minimum_norm(attack, net, task, seed=0)
        spent = result.forwards + result.backwards
        assert (spent <= budget).all()
        assert name in STOPS_EARLY or (spent >= 0.9 * budget).all()


@each
def test_it_is_reproducible_bit_for_bit(name: str, distance: Distance) -> None:
    net, task = problem(distance)
    one, two = (run_minimum_norm(ATTACKS[name], net, task, seed=3) for _ in range(2))
    assert torch.equal(one.adversarial, two.adversarial)
    assert torch.equal(one.distance, two.distance)


@each
def test_a_sample_does_not_depend_on_the_batch_around_it(name: str, distance: Distance) -> None:
    net, task = problem(distance, dtype=torch.float64)
    whole = run_minimum_norm(ATTACKS[name], net, task, seed=1)
    part = run_minimum_norm(ATTACKS[name], net, task[[4, 2]], seed=1)
    assert torch.allclose(whole.adversarial[[4, 2]], part.adversarial, atol=1e-9)
    assert torch.equal(whole.forwards[[4, 2]], part.forwards)


@each
def test_double_precision_stays_double(name: str, distance: Distance) -> None:
    net, task = problem(distance, dtype=torch.float64)
    result = run_minimum_norm(ATTACKS[name], net, task, seed=0)
    assert result.adversarial.dtype == result.distance.dtype == result.margin.dtype == torch.float64
    assert result.success.all()


@each
def test_two_classes_are_enough(name: str, distance: Distance) -> None:
    net, task = problem(distance, ids=(0, 2, 3), classes=2)
    result = run_minimum_norm(ATTACKS[name], net, task, seed=0)
    assert result.success.all()
    assert torch.equal(result.prediction, 1 - net(task.center).argmax(1))


@each
def test_samples_that_are_wrong_already_cost_one_pass(name: str, distance: Distance) -> None:
    net, task = problem(distance)
    result = run_minimum_norm(ATTACKS[name], net, task, seed=0)
    assert result.distance[1] == 0
    assert torch.equal(result.adversarial[1], task.center[1])
    assert result.forwards[1] == 1
    assert result.backwards[1] == 0
    assert (result.forwards[[0, 2, 3, 4, 5]] > 1).all()
    assert (result.distance[[0, 2, 3, 4, 5]] > 0).all()


@each
def test_without_a_domain_inputs_may_leave_it(name: str, distance: Distance) -> None:
    net, task = problem(distance)
    free = run_minimum_norm(ATTACKS[name], net, replace(task, domain=None), seed=0)
    assert free.success.all()
    assert torch.isfinite(free.adversarial).all()
    below = task.center - 2
    labels = Specification.classified_as(net(below).argmax(1), 3)
    far = replace(task, center=below, domain=None, specification=labels)
    assert run_minimum_norm(ATTACKS[name], net, far, seed=0).success.any()


@each
def test_a_target_is_a_specification(name: str, distance: Distance) -> None:
    net, task = problem(distance, ids=(0, 2, 3))
    labels = net(task.center).argmax(1)
    targets = (labels + 1) % 3
    aimed = replace(task, specification=Specification.ranks_above(labels, targets, 3))
    result = run_minimum_norm(ATTACKS[name], net, aimed, seed=0)
    assert result.success.any()
    logits = net(result.adversarial)
    reached = logits.gather(1, targets[:, None]) >= logits.gather(1, labels[:, None])
    assert torch.equal(reached[:, 0], result.success)


@each
def test_at_a_radius_its_successes_replay(name: str, distance: Distance) -> None:
    net, task = problem(distance)
    result = run_minimum_norm(ATTACKS[name], net, task, seed=0)
    epsilon = float(result.distance.median())
    view = at_epsilon(task, result, epsilon)
    assert view.success.any()
    assert (result.distance[view.success] <= epsilon).all()
    assert at_epsilon(task, result, 0.0).success.tolist() == [i == 1 for i in range(len(task))]
    if distance.norm is not None:
        for i in view.success.nonzero()[:, 0].tolist():
            Counterexample.replay(net, task.within(epsilon)[i : i + 1], view.adversarial[i : i + 1])


@pytest.mark.parametrize("name", [name for name in ATTACKS if ATTACKS[name].distances < set(Distance)])
def test_a_distance_it_does_not_know_is_refused(name: str) -> None:
    unknown = min(set(Distance) - ATTACKS[name].distances)
    net, task = problem(unknown)
    with pytest.raises(InputError, match=f"minimises .*, not {unknown}"):
        run_minimum_norm(ATTACKS[name], net, task, seed=0)


@pytest.mark.parametrize("name", ATTACKS)
def test_what_it_ran_with_can_be_recorded(name: str) -> None:
    assert json.loads(json.dumps(ATTACKS[name].parameters))


@pytest.mark.parametrize("name", sorted(MINIMUM_NORM_ATTACKS))
def test_it_follows_its_inputs_to_another_device(name: str) -> None:
    attack = ATTACKS[name]
    net, task = problem(min(attack.distances), ids=(0, 1))
    here = run_minimum_norm(attack, net, task, seed=0)
    with elsewhere() as device:
        there = run_minimum_norm(attack, deepcopy(net).to(device), moved(task, device), seed=0)
        assert there.adversarial.device == device
        assert torch.equal(there.adversarial.cpu(), here.adversarial)
        assert torch.equal(there.distance.cpu(), here.distance)
