"""The attack inside a step computes no gradients of weights: counted in the operations that run."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.passes import Passes, count
from calipers.core.threat import ThreatModel
from calipers.data.loading import load_dataset
from calipers.models.loading import load_model
from calipers.train import OBJECTIVES
from calipers.train.objective import DataShape, Progress, fitted
from calipers.train.objectives.pgd import AdversarialPGD
from calipers.train.objectives.registry import Inner
from tests.train.needed import NEEDED

Batch = tuple[nn.Module, Tensor, Tensor]
AT = Progress(1, 2, 0, 2)
ATTACKING = sorted(name for name in OBJECTIVES if OBJECTIVES[name].adversarial)


@pytest.fixture
def batch() -> Batch:
    model = load_model("digits.maxpool").module.requires_grad_(True).train()
    return model, *load_dataset("digits", "train", 12).batch(range(12))


def inner(steps: int) -> Inner:
    return Inner(ThreatModel("linf", 0.1).for_model(None), steps, 0.5)


def counted(name: str, steps: int, settings: dict[str, Any], batch: Batch) -> Passes:
    """Of the second step, for which the network has been traced."""
    model, x, y = batch
    kind = OBJECTIVES[name]
    made = kind.make(kind.settings(**NEEDED.get(name, {}), **settings), inner(steps) if kind.adversarial else None)
    objective = fitted(made, DataShape((1, 8, 8), 10))
    state = objective.init(model, lambda parameters: torch.optim.SGD(parameters, 0.0))
    objective.step(state, x, y, AT)
    return count(model, x, lambda: objective.step(state, x, y, AT))


@pytest.mark.parametrize(
    ("name", "settings", "passes", "gradients"),
    [
        ("standard", {}, (1, 1), 1),
        ("pgd", {}, (6, 6), 1),
        ("fgsm", {}, (3, 3), 2),
        ("vat", {}, (4, 3), 2),
        # From its forward and its backward pass; for a convolution both come in one operation.
        ("margin", {"rivals": 1}, (1, 2), 4 / 3),
    ],
)
def test_a_step_takes_as_many_passes_as_its_formula_says(
    name: str,
    settings: dict[str, Any],
    passes: tuple[int, int],
    gradients: int,
    batch: tuple[nn.Module, Tensor, Tensor],
) -> None:
    found = counted(name, 5, settings, batch)
    assert (found.forwards, found.backwards) == passes
    assert found.weight_gradients == gradients


@pytest.mark.parametrize("name", ATTACKING)
def test_more_steps_of_an_attack_take_no_more_gradients_of_weights(name: str, batch: Batch) -> None:
    counts = [counted(name, steps, {}, batch) for steps in (1, 4)]
    assert counts[0].weight_gradients == counts[1].weight_gradients > 0


def test_the_attack_alone_takes_none_and_an_unfrozen_one_would_show(batch: Batch) -> None:
    model, x, y = batch
    found = count(model, x, lambda: AdversarialPGD(inner(4)).perturb(model, x, y))
    assert (found.forwards, found.backwards, found.weight_gradients) == (4, 4, 0)

    def careless() -> None:
        here = x.clone().requires_grad_(True)
        nn.functional.cross_entropy(model(here), y).backward()

    shown = count(model, x, careless)
    assert shown.weight_gradients == 1
    assert shown.work > found.work / 4
