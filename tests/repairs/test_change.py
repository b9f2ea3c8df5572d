from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from calipers.core.errors import CalipersError, InputError
from calipers.core.problem import Problem, Specification
from calipers.core.results import Verdict
from calipers.graph.from_torch import from_module
from calipers.repairs import change, quadratic
from calipers.repairs.change import repaired
from calipers.repairs.cutting_planes import InfeasibleError
from calipers.repairs.failing import Samples
from calipers.repairs.patch import delta_of, patched
from calipers.repairs.recheck import Rechecked, margins_of
from calipers.repairs.settings import Guarantee, RepairSettings
from calipers.verify import Complete, run_verifier
from tests.repairs.subjects import network, subject

OBJECTIVES = ["mahalanobis", "l2", "l1", "elastic"]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seed", [0, 1])
def test_failures_are_right_afterwards_with_the_margin(objective: str, seed: int) -> None:
    model = network(seed)
    about, failures = subject(model)
    found = repaired(about, failures, RepairSettings(objective=objective, margin=0.2))
    after = patched(model, delta_of(model, found.tensors))
    assert float(margins_of(after, failures.x, failures.labels).min()) >= 0.1
    assert float(margins_of(model, failures.x, failures.labels).max()) <= 0


def test_mahalanobis_moves_clean_outputs_least() -> None:
    model = network()
    about, failures = subject(model)

    def moved(objective: str) -> float:
        found = repaired(about, failures, RepairSettings(objective=objective, margin=0.2, ridge=1e-3))
        after = patched(model, delta_of(model, found.tensors))
        return float((after(about.reference.x) - model(about.reference.x)).square().sum())

    assert moved("mahalanobis") <= min(moved("l2"), moved("l1"), moved("elastic"))


@pytest.mark.parametrize("guarantee", [Guarantee.BOX, Guarantee.LINEAR])
def test_whole_balls_are_proven_by_a_verifier_that_knows_nothing_of_the_repair(guarantee: Guarantee) -> None:
    model = network(2)
    about, failures = subject(model)
    found = repaired(about, failures, RepairSettings(guarantee, radius=0.02, margin=0.05))
    after = patched(model, delta_of(model, found.tensors))
    balls = about.threat.at(0.02).around(failures.x)
    problem = Problem("after", failures.number, balls, Specification.classified_as(failures.labels, 3))
    answers = run_verifier(Complete(), after, from_module(after, failures.x), problem)
    assert set(answers.verdicts) == {Verdict.VERIFIED}


def test_a_hidden_layer_repairs_points_too() -> None:
    model = network()
    about, failures = subject(model)
    found = repaired(about, failures, RepairSettings(margin=0.05, layer="4"))
    after = patched(model, delta_of(model, found.tensors))
    assert float(margins_of(after, failures.x, failures.labels).min()) > 0
    changed = [name for name, value in after.state_dict().items() if not torch.equal(value, model.state_dict()[name])]
    assert changed == ["4.weight", "4.bias"]


def test_clean_samples_that_are_kept_stay_right() -> None:
    model = network()
    about, failures = subject(model, count=6)
    free = repaired(about, failures, RepairSettings(objective="l2", margin=1.0))
    kept = repaired(about, failures, RepairSettings(objective="l2", margin=1.0, keep=6))

    def right(tensors: dict[str, Tensor]) -> int:
        after = patched(model, delta_of(model, tensors))
        return int((margins_of(after, about.reference.x, about.reference.labels) > 0).sum())

    assert right(free.tensors) < right(kept.tensors) == 6


def test_clean_balls_that_are_kept_stay_proven() -> None:
    model = network()
    about, failures = subject(model, count=12)
    settings = RepairSettings(objective="l2", margin=0.5, keep_certified=4, radius=0.002)
    found = repaired(about, failures, settings)
    after = patched(model, delta_of(model, found.tensors))
    balls = about.threat.at(0.002).around(about.reference.x)
    problem = Problem("m", about.reference.number, balls, Specification.classified_as(about.reference.labels, 3))
    was = run_verifier(Complete(), model, about.graph, problem).verdicts
    now = run_verifier(Complete(), after, from_module(after, failures.x), problem).verdicts
    assert was.count(Verdict.VERIFIED) > 0
    assert all(now[i] is Verdict.VERIFIED for i in range(4) if was[i] is Verdict.VERIFIED)


def test_what_a_fresh_attack_finds_is_repaired_too() -> None:
    model = network()
    about, failures = subject(model)
    seen: list[Tensor] = []

    def adversary(after: nn.Module, samples: Samples) -> Tensor:
        """Random points near the origin that are wrong where there are any."""
        generator = torch.Generator().manual_seed(len(seen))
        best = samples.x.clone()
        for _ in range(200):
            x = (samples.x + 0.3 * (2 * torch.rand(samples.x.shape, generator=generator) - 1)).clamp(0, 1)
            wrong = margins_of(after, x, samples.labels) <= 0
            best[wrong] = x[wrong]
        seen.append(best)
        return best

    found = repaired(about, failures, RepairSettings(margin=0.05, rounds=3), adversary)
    after = patched(model, delta_of(model, found.tensors))
    assert len(found.repaired) > len(failures)
    assert float(margins_of(after, found.repaired.x, found.repaired.labels).min()) > 0


def test_failures_that_clash_are_named_irreducibly() -> None:
    """Equal features, different labels: no last layer tells them apart; two others have no part in it."""
    model = network()
    about, failures = subject(model)
    x = failures.x.clone()
    x[1] = x[0]
    x[1, 0, 0, 0] += 1e-6
    labels = model(x).argmax(1)
    labels = torch.stack([(labels[0] + 1) % 3, (labels[0] + 2) % 3, (labels[2] + 1) % 3, (labels[3] + 1) % 3])
    clashing = Samples(x, labels, (7, 8, 9, 10))
    with pytest.raises(InfeasibleError, match="samples 7, 8 together") as caught:
        # A change that tells a millionth apart is no change that can be deployed.
        repaired(about, clashing, RepairSettings(Guarantee.BOX, radius=1e-3, margin=1.0))
    assert caught.value.samples == (7, 8)


def test_one_sample_that_nothing_fulfils_is_named_alone() -> None:
    """Without a bias, features that may all be 0 give no margin."""
    model = network(bias=False)
    about, failures = subject(model)
    model.load_state_dict({"4.bias": -torch.ones(12) * 50}, strict=False)
    about = replace(about, graph=from_module(model, failures.x))
    dark = replace(failures, labels=(model(failures.x).argmax(1) + 1) % 3)[torch.arange(1)]
    with pytest.raises(InfeasibleError, match="of sample 100 alone; accepted: a smaller radius"):
        repaired(about, dark, RepairSettings(objective="l2", margin=0.5))


def test_bad_input_is_said() -> None:
    model = network()
    about, failures = subject(model)
    right = replace(failures, labels=model(failures.x).argmax(1))
    with pytest.raises(InputError, match=r"4 of 4 failures are classified as their labels say: samples 100, 101"):
        repaired(about, right, RepairSettings())
    with pytest.raises(InputError, match="no failures were given or found"):
        repaired(about, failures[torch.zeros(0, dtype=torch.int64)], RepairSettings())
    twice = Samples(
        failures.x[:1].repeat(2, 1, 1, 1),
        torch.tensor([(int(model(failures.x[:1]).argmax()) + k) % 3 for k in (1, 2)]),
        (4, 5),
    )
    with pytest.raises(InputError, match="samples 4 and 5 are the same input with labels"):
        repaired(about, twice, RepairSettings())
    with pytest.raises(InputError, match="'nine' is no fully connected layer"):
        repaired(about, failures, RepairSettings(layer="nine"))
    with pytest.raises(InputError, match="guarantee box with the inner layer 4"):
        repaired(about, failures, RepairSettings(Guarantee.BOX, radius=0.1, layer="4"))
    with pytest.raises(InputError, match="rounds of attacks need clean inputs"):
        repaired(about, failures, RepairSettings(rounds=1))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"guarantee": Guarantee.BOX}, "radius 0 for guarantee box"),
        ({"margin": 0.0}, "margin 0"),
        ({"objective": "l7"}, "objective 'l7'"),
        ({"keep": -1}, "keep -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        RepairSettings(**settings)  # type: ignore[arg-type]


def test_settings_survive_json() -> None:
    settings = RepairSettings(Guarantee.LINEAR, 0.1, 0.3, "elastic", 2.0, "fc", 4, 5, 6)
    assert RepairSettings.from_dict(settings.to_dict()) == settings


def test_a_change_that_does_not_hold_on_the_deployed_network_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    about, failures = subject(model)

    def wrong(deployed: nn.Module, exact: nn.Module, x: Tensor, labels: Tensor) -> Rechecked:
        return original(model, exact, x, labels)

    original = change.rechecked
    monkeypatch.setattr(change, "rechecked", wrong)
    with pytest.raises(CalipersError, match=r"in float32, where it has to be positive"):
        repaired(about, failures, RepairSettings(margin=0.1))


def test_a_programme_that_is_solved_wrongly_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    about, failures = subject(model)

    def nothing(rows: object, metric: object, start: object = None, tracker: object = None) -> quadratic.Optimum:
        empty = np.zeros(0, dtype=np.int64)
        return quadratic.Optimum(np.zeros((3, 13)), empty, np.zeros(0), 0)

    monkeypatch.setattr("calipers.repairs.objectives.least_change", nothing)
    with pytest.raises(CalipersError, match="rounds of cuts left"):
        repaired(about, failures, RepairSettings(margin=0.1))
