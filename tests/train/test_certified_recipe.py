"""A recipe from end to end: what it trains can be certified by intervals, which ordinary training cannot."""

from pathlib import Path

import pytest
import torch

from calipers.bounds import METHODS, WorkBudget
from calipers.core.errors import InputError
from calipers.core.problem import Specification
from calipers.core.threat import ThreatModel
from calipers.core.tracker import Silent
from calipers.data.images import ImageDataset
from calipers.data.loading import load_dataset
from calipers.graph.from_torch import from_module
from calipers.models.loading import load_model
from calipers.train import Recipe, Trainer, load_recipe


def certified(recipe: Recipe, out: Path, data: ImageDataset, held_out: ImageDataset) -> float:
    """Share of the held-out images that intervals prove within 0.05 after training."""
    trainer = Trainer(recipe, data, out)
    trainer.epoch(recipe.epochs - 1, Silent())
    trainer.finish(held_out)
    model = load_model(str(out)).module
    x, y = held_out.batch(range(len(held_out)))
    with torch.no_grad():
        sets, asked = ThreatModel("linf", 0.05).for_model(None).around(x), Specification.classified_as(y, 10)
        found = METHODS["ibp"].margins(from_module(model, x[:2]), sets, asked, WorkBudget())
    return float(found.proven.float().mean())


def test_intervals_prove_what_certified_training_made_and_nothing_of_adversarial_training(tmp_path: Path) -> None:
    data, held_out = load_dataset("digits", "train"), load_dataset("digits", "test", 200)
    assert certified(load_recipe("digits.certified"), tmp_path / "certified.json", data, held_out) > 0.5
    few = load_recipe("digits").model_copy(update={"epochs": 10})
    assert certified(few, tmp_path / "pgd.json", data, held_out) < 0.05


def test_hold_and_warmup_are_read_and_checked(tmp_path: Path) -> None:
    text = 'model = "digits.maxpool"\ndata = "digits"\nobjective = "sabr"\n[settings]\ntau = {tau}\n[adversary]\n'
    text += "epsilon = 0.1\nwarmup = {warmup}\nhold = 1"
    path = tmp_path / "recipe.toml"
    path.write_text(text.format(tau=0.5, warmup=3))
    adversary = load_recipe(str(path)).adversary
    assert adversary is not None
    assert (adversary.hold, adversary.warmup) == (1, 3)
    for tau, warmup, message in ((0.5, -1, "adversary.warmup"), (0.0, 3, "tau"), (1.5, 3, "tau")):
        path.write_text(text.format(tau=tau, warmup=warmup))
        with pytest.raises(InputError, match=message):
            load_recipe(str(path))
