"""Fast adversarial training: its step, and the guard that looks after every epoch."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calipers.core.threat import ThreatModel
from calipers.data.loading import load_dataset
from calipers.models.loading import load_model
from calipers.train.objective import Progress, State
from calipers.train.objectives.fast import FastAdversarial, FastSettings
from calipers.train.objectives.pgd import AdversarialPGD
from calipers.train.objectives.registry import Inner

INNER = Inner(ThreatModel("linf", 0.1).for_model(None), 5, 0.5)
FAST = FastAdversarial(INNER, FastSettings())
FIRST, SECOND, THIRD = (Progress(epoch, 4, 1, 2) for epoch in range(3))
WITHIN = Progress(1, 4, 0, 2)


def begun(reference: str = "digits.robust") -> tuple[State, Tensor, Tensor]:
    model = load_model(reference).module.requires_grad_(True)
    x, y = load_dataset("digits", "train", 64).batch(range(64))
    return FAST.init(model, lambda parameters: torch.optim.SGD(parameters, 1e-3)), x, y


def weights(state: State) -> list[Tensor]:
    return [value.clone() for value in state.model.state_dict().values()]


def collapse(model: nn.Module) -> None:
    """Weights that answer 0 whatever comes."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()


def test_the_loss_is_that_of_one_long_step_from_a_random_start() -> None:
    state, x, y = begun()
    torch.manual_seed(3)
    moved = AdversarialPGD(replace(INNER, steps=1, step_size=1.25)).perturb(state.model, x, y)
    expected = F.cross_entropy(state.model(moved), y).detach()
    torch.manual_seed(3)
    _, metrics = FAST.step(state, x, y, WITHIN)
    assert metrics["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert metrics["stopped"] == 0


def test_weights_that_are_robust_go_on() -> None:
    state, x, y = begun()
    state, first = FAST.step(state, x, y, FIRST)
    assert first["robust"] > 0.5
    before = weights(state)
    state, second = FAST.step(state, x, y, SECOND)
    assert second["stopped"] == 0
    assert any(not torch.equal(one, two) for one, two in zip(before, weights(state), strict=True))


def test_after_a_collapse_the_last_good_weights_are_back_and_stay() -> None:
    state, x, y = begun()
    state, _ = FAST.step(state, x, y, FIRST)
    good = weights(state)
    collapse(state.model)
    state, _ = FAST.step(state, x, y, WITHIN)
    assert float(state.values["stopped"]) == 0  # only the end of an epoch is looked at
    collapse(state.model)
    state, metrics = FAST.step(state, x, y, SECOND)
    assert metrics["stopped"] == 1
    assert all(torch.equal(one, two) for one, two in zip(good, weights(state), strict=True))
    state, metrics = FAST.step(state, x, y, THIRD)
    assert metrics["stopped"] == 1
    assert metrics["loss"] > 0
    assert all(torch.equal(one, two) for one, two in zip(good, weights(state), strict=True))


def test_how_much_may_be_lost_is_a_setting() -> None:
    state, x, y = begun()
    tolerant = FastAdversarial(INNER, FastSettings(most_lost=1.0))
    state, _ = tolerant.step(state, x, y, FIRST)
    collapse(state.model)
    _, metrics = tolerant.step(state, x, y, SECOND)
    assert metrics["stopped"] == 0
