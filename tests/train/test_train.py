import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from calipers.core.errors import InputError, StoreError
from calipers.core.threat import ThreatModel
from calipers.core.tracker import Silent, Tracker
from calipers.data.images import ImageDataset
from calipers.data.loading import load_dataset
from calipers.models.loading import load_model
from calipers.train import OBJECTIVES, Optimizer, Recipe, TrainedModel, Trainer, steps_of
from calipers.train.objective import Minimised, Progress, State
from calipers.train.objectives.pgd import AdversarialPGD
from calipers.train.objectives.registry import Inner
from calipers.train.objectives.standard import Standard
from calipers.train.recipe import Adversary
from tests.train.needed import NEEDED

QUICK: dict[str, Any] = {
    "model": "digits.maxpool",
    "data": "digits",
    "epochs": 2,
    "batch_size": 50,
    "checkpoint_every": 3,
}
# For training, and for testing.
Data = tuple[ImageDataset, ImageDataset]
ADVERSARY = Adversary(epsilon=0.1, steps=2)


@pytest.fixture(scope="module")
def data() -> Data:
    return load_dataset("digits", "train", 250), load_dataset("digits", "test", 100)


AT = Progress(0, 1, 0, 1)


class Stop:
    """A tracker that presses Ctrl-C after so many steps, and remembers what it saw."""

    def __init__(self, after: int | None = None) -> None:
        self.after = after
        self.seen: list[int] = []

    def advance(self, doing: str, done: int) -> None:
        self.seen.append(done)
        if done == self.after:
            raise KeyboardInterrupt


QUIET = Silent()


def train(
    recipe: Recipe, dataset: ImageDataset, held_out: ImageDataset, out: Path, tracker: Tracker = QUIET
) -> TrainedModel:
    """All epochs, from the checkpoint on if there is one."""
    trainer = Trainer(recipe, dataset, out)
    for epoch in range(recipe.epochs):
        trainer.epoch(epoch, tracker)
    return trainer.result(trainer.finish(held_out))


# One of each kind; test_killed.py kills the training of every objective.
INTERRUPTED = ("standard", "critic", "fast", "ibp", "vat")


@pytest.mark.parametrize("changes", [{}, {"schedule": {"shape": "cosine"}, "augmentation": {"flip": True, "shift": 1}}])
@pytest.mark.parametrize(
    "objective", [pytest.param(one, marks=() if one in INTERRUPTED else pytest.mark.full) for one in sorted(OBJECTIVES)]
)
def test_resuming_at_any_batch_ends_with_the_same_weights(
    tmp_path, data: Data, objective: str, changes: dict[str, Any]
) -> None:
    adversary = ADVERSARY if OBJECTIVES[objective].adversarial else None
    settings = NEEDED.get(objective, {})
    recipe = Recipe(**QUICK, objective=objective, adversary=adversary, settings=settings, **changes)
    whole = train(recipe, *data, tmp_path / "whole.json")
    parts = tmp_path / "parts.json"
    with pytest.raises(KeyboardInterrupt):
        train(recipe, *data, parts, Stop(8))
    again = Stop()
    resumed = train(recipe, *data, parts, again)
    assert again.seen[0] == 7  # after the last checkpoint
    for name, weight in whole.model.module.state_dict().items():
        assert torch.equal(weight, resumed.model.module.state_dict()[name])
    assert not parts.with_suffix(".checkpoint").exists()


# Objectives with several networks, or with values that change: where they are stopped matters more.
STATEFUL: dict[str, dict[str, Any]] = {
    "critic": {"hidden": [32, 32]},
    "distillation": {"share": 0.5},
    "fast": {"most_lost": 0.0},
}


@pytest.mark.parametrize("objective", sorted(STATEFUL))
def test_everything_that_changes_is_the_same_wherever_a_training_was_stopped(
    tmp_path, data: Data, objective: str
) -> None:
    adversary = ADVERSARY if OBJECTIVES[objective].adversarial else None
    changes = {"epochs": 4, "checkpoint_every": 1}
    recipe = Recipe(**{**QUICK, **changes}, objective=objective, adversary=adversary, settings=STATEFUL[objective])
    kept = []
    for name, stops in (("whole", ()), ("parts", (1, 4, 5, 7, 10, 11, 14, 16, 19))):
        trainer = Trainer(recipe, data[0], tmp_path / f"{name}.json")
        for stop in stops:
            with pytest.raises(KeyboardInterrupt):
                trainer.epoch(3, Stop(stop))
        histories = [trainer.epoch(epoch, QUIET).metrics for epoch in range(4)]
        kept.append((histories, torch.load(trainer.checkpoint, weights_only=True)["state"]))
    assert kept[0][0] == kept[1][0]
    assert_equal(kept[0][1], kept[1][1])


def assert_equal(one: Any, two: Any) -> None:
    """Two nests of dictionaries, lists, tensors and numbers are the same, bit for bit."""
    assert type(one) is type(two)
    if isinstance(one, dict):
        assert list(one) == list(two)
        for name in one:
            assert_equal(one[name], two[name])
    elif isinstance(one, list):
        for left, right in zip(one, two, strict=True):
            assert_equal(left, right)
    else:
        assert torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two


EVERYTHING: dict[str, Any] = {
    "epochs": 4,
    "averaging": {"kind": "ema", "decay": 0.9},
    "validation": {"samples": 40, "patience": 2},
    "augmentation": {"crop": 0.8, "flip": True},
    "precision": "bf16",
}


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_averages_validation_and_precision_do_not_depend_on_where_a_training_was_stopped(
    tmp_path, data: Data, kind: str
) -> None:
    changes = {**EVERYTHING, "averaging": {"kind": kind, "decay": 0.9}, "checkpoint_every": 1}
    recipe = Recipe(**{**QUICK, **changes}, objective="pgd", adversary=ADVERSARY)
    found = []
    for name, stops in (("whole", ()), ("parts", (2, 5, 6, 11, 15))):
        trainer = Trainer(recipe, data[0], tmp_path / f"{name}.json")
        for stop in stops:
            with pytest.raises(KeyboardInterrupt):
                trainer.epoch(3, Stop(stop))
        histories = [trainer.epoch(epoch, QUIET).metrics for epoch in range(4)]
        metrics = trainer.finish(data[1])
        found.append((histories, metrics, load_model(str(trainer.out)).digest))
    assert found[0] == found[1]


def test_metrics_are_means_over_the_samples_that_have_them(tmp_path, data: Data, monkeypatch) -> None:
    """Also of metrics that some batches do not tell, the last one among them."""
    told = {0: {"odd": 1.0}, 2: {"odd": 4.0}}
    whole = Minimised.step

    def step(self: Minimised, state: State, x: Any, y: Any, progress: Progress) -> Any:
        after, metrics = whole(self, state, x, y, progress)
        return after, {**metrics, **told.get(progress.batch, {})}

    monkeypatch.setattr(Minimised, "step", step)
    trainer = Trainer(Recipe(**{**QUICK, "batch_size": 64}), data[0], tmp_path / "net.json")
    assert trainer.epoch(0, QUIET).metrics["odd"] == pytest.approx(2.5)


def test_the_history_of_an_interrupted_run_is_that_of_a_whole_one(tmp_path, data: Data) -> None:
    def history(out: Path, *stops: int) -> list[tuple[int, dict[str, float], float]]:
        trainer = Trainer(Recipe(**QUICK, optimizer=Optimizer(decay=0.5)), data[0], out)
        for stop in stops:
            with pytest.raises(KeyboardInterrupt):
                trainer.epoch(1, Stop(stop))
        records = [trainer.epoch(epoch, QUIET) for epoch in range(2)]
        return [(record.epoch, record.metrics, record.learning_rate) for record in records]

    whole = history(tmp_path / "whole.json")
    assert history(tmp_path / "parts.json", 2, 4, 8) == whole
    assert [rate for *_, rate in whole] == [1e-3, 5e-4]


def test_training_learns_and_the_card_says_how(tmp_path, data: Data) -> None:
    recipe = Recipe(**{**QUICK, "epochs": 12, "optimizer": {"learning_rate": 0.01}})
    trained = train(recipe, *data, tmp_path / "net.json")
    assert trained.metrics["train_accuracy"] > 0.9
    card = json.loads(trained.card.read_text())
    assert card["architecture"] == "digits.maxpool"
    assert card["recipe"]["optimizer"]["learning_rate"] == 0.01
    assert load_model(str(trained.card)).digest == trained.model.digest


def test_adversarial_samples_stay_in_the_ball_and_raise_the_loss(data) -> None:
    model, _ = load_model("digits.maxpool").module, torch.manual_seed(0)
    model.requires_grad_(True).train()
    x, y = data[0].batch(range(64))
    objective = AdversarialPGD(Inner(ThreatModel("linf", 0.1).for_model(None), steps=5, step_size=0.5))
    adversarial = objective.perturb(model, x, y)
    assert objective.inner.threat.around(x).contains(adversarial).all()
    assert bool(objective.loss(model, x, y, AT) > Standard().loss(model, x, y, AT))
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_model_is_restored_even_if_the_attack_fails(data) -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x):
            raise RuntimeError("boom")

    model = Broken().train()
    with pytest.raises(RuntimeError, match="boom"):
        AdversarialPGD(Inner(ThreatModel("linf", 0.1).for_model(None), 1, 1.0)).perturb(model, *data[0].batch(range(2)))
    assert model.training
    assert model.weight.requires_grad


def test_a_checkpoint_of_another_recipe_or_a_damaged_one_is_named(tmp_path, data: Data) -> None:
    recipe = Recipe(**QUICK)
    out = tmp_path / "net.json"
    with pytest.raises(KeyboardInterrupt):
        train(recipe, *data, out, Stop(4))
    with pytest.raises(InputError, match="made by recipe"):
        train(recipe.model_copy(update={"seed": 5}), *data, out)
    out.with_suffix(".checkpoint").write_bytes(b"torn")
    with pytest.raises(StoreError, match="is damaged"):
        train(recipe, *data, out)


def test_a_model_that_does_not_fit_the_data_is_named(tmp_path, data: Data) -> None:
    recipe = Recipe(**{**QUICK, "model": "capm.convsmall"})
    with pytest.raises(InputError, match=r"model = 'capm.convsmall'.*\(1, 8, 8\)"):
        train(recipe, *data, tmp_path / "net.json")
    assert steps_of(recipe, data[0]) == 10


@pytest.mark.parametrize("classes", [1, 5, 11])
def test_data_with_other_classes_than_the_model_are_named(tmp_path, data: Data, classes: int) -> None:
    labels = data[0].labels.clamp(max=classes - 1)
    other = ImageDataset("mine", data[0].images, labels, tuple(map(str, range(classes))))
    with pytest.raises(InputError, match=f"'digits.maxpool': has 10 outputs, mine {classes} class.*a mod"):
        Trainer(Recipe(**QUICK), other, tmp_path / "net.json")
