"""Which epoch's weights are saved, and when a training ends early."""

from pathlib import Path
from typing import Any

import pytest
import torch

from calipers.core.errors import InputError
from calipers.core.tracker import Silent
from calipers.data.loading import load_dataset
from calipers.evaluate.training import history_of, train_in
from calipers.models.loading import build, load_model
from calipers.report.views import view_of
from calipers.store.store import Store
from calipers.train import Adversary, Recipe, Trainer
from calipers.train.accuracy import accuracy
from calipers.train.objective import Metrics
from calipers.train.validation import Validation
from tests.train.test_train import QUICK, QUIET, Data

QUICKER: dict[str, Any] = {**QUICK, "model": "digits.small", "epochs": 6}
AGAINST = Adversary(epsilon=0.1, steps=3)


@pytest.fixture(scope="module")
def data() -> Data:
    return load_dataset("digits", "train", 250), load_dataset("digits", "test", 50)


def recipe_of(**validation: Any) -> Recipe:
    return Recipe(**{**QUICKER, "validation": validation})


def scored(monkeypatch, scores: list[float]) -> None:
    """Validation that says what it is told to, epoch by epoch."""
    left = iter(scores)

    def measured(self: Validation, model: Any, dataset: Any, adversary: Any, seed: int) -> Metrics:
        return {"validation_accuracy": 0.5, "validation_robust": next(left)}

    monkeypatch.setattr(Validation, "measured", measured)


@pytest.mark.parametrize(
    ("scores", "patience", "best", "epochs"),
    [
        ([0.1, 0.3, 0.2, 0.3, 0.1, 0.0], None, 1, 6),
        ([0.1, 0.3, 0.2, 0.3, 0.1, 0.0], 2, 1, 4),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 1, 5, 6),
        ([0.1, 0.0], 1, 0, 2),
    ],
)
def test_the_first_best_epoch_is_saved_and_patience_ends(
    scores, patience, best, epochs, data: Data, tmp_path: Path, monkeypatch
) -> None:
    whole = Trainer(recipe_of(samples=50), data[0], tmp_path / "whole.json")
    for epoch in range(best + 1):
        whole.epoch(epoch, QUIET)
    expected = torch.load(whole.checkpoint, weights_only=True)["state"]["networks"]["model"]
    scored(monkeypatch, scores)
    recipe = recipe_of(samples=50, patience=patience)
    with Store(tmp_path) as store:
        trainer = Trainer(recipe, data[0], tmp_path / "net.json")
        trained = train_in(store, trainer, data[1], "", Silent())
        (run,) = store.runs()
        history, _ = history_of(store, run.run_id)
        page = view_of(store, run.run_id).html()
        assert train_in(store, trainer, data[1], "", Silent(), resume=True).model.digest == trained.model.digest
    assert len(history) == epochs
    assert [one.ended for one in history] == [False] * (epochs - 1) + [True]
    assert [one.metrics["validation_robust"] for one in history] == scores[:epochs]
    assert all(torch.equal(value, expected[name]) for name, value in trained.model.module.state_dict().items())
    assert f"those of epoch {best + 1}, which validated best" in page
    assert ("It ended early" in page) == (epochs < 6)
    assert "Validation against epoch" in page


def test_samples_that_validate_are_not_trained_on(data: Data, tmp_path: Path) -> None:
    held_back = Trainer(recipe_of(samples=50), data[0], tmp_path / "a.json")
    fewer = Trainer(Recipe(**QUICKER), data[0].head(200), tmp_path / "b.json")
    weights = []
    for trainer in (held_back, fewer):
        trainer.epoch(0, QUIET)
        weights.append(torch.load(trainer.checkpoint, weights_only=True)["state"]["networks"]["model"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert len(held_back.validating) == 50
    assert torch.equal(held_back.validating.labels, data[0].labels[200:])


def test_it_measures_accuracy_and_accuracy_under_pgd_the_same_at_every_call(data: Data) -> None:
    robust, small = (load_model(name).module for name in ("digits.robust", "digits.small"))
    both = [Validation(samples=1).measured(model, data[1], AGAINST, 0) for model in (robust, small)]
    assert both[0] == Validation(samples=1).measured(robust, data[1], AGAINST, 0)
    for model, found in zip((robust, small), both, strict=True):
        assert found["validation_accuracy"] == accuracy(model, data[1])
        assert found["validation_robust"] <= found["validation_accuracy"]
    assert both[0]["validation_robust"] > both[1]["validation_robust"]
    assert "validation_robust" not in Validation(samples=1).measured(small, data[1], None, 0)
    own = Validation(samples=1, adversary=Adversary(epsilon=1e-9))
    assert own.measured(small, data[1], None, 0)["validation_robust"] == accuracy(small, data[1])
    model = build("digits.small", 0)[0].train()
    own.measured(model, data[1], None, 0)
    assert model.training


def test_what_validates_nothing_is_an_error(data: Data, tmp_path: Path) -> None:
    tables: list[dict[str, Any]] = [{"patience": 3}, {"adversary": {"epsilon": 0.1}}]
    for table in tables:
        with pytest.raises(ValueError, match=r"validation.samples = 0: nothing validates"):
            recipe_of(**table)
    with pytest.raises(InputError, match=r"validation.samples = 250: there are 250 samples; accepted: 0 to 249"):
        Trainer(recipe_of(samples=250), data[0], tmp_path / "net.json")
