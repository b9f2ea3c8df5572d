"""Training behind whitening is training on whitened images, and what is saved takes raw ones."""

from pathlib import Path
from typing import Any

import pytest
import torch

from calipers.core.errors import InputError
from calipers.core.tracker import Silent
from calipers.data.loading import load_dataset
from calipers.evaluate.reproduce.margin_figures import NIN
from calipers.evaluate.reproduce.margin_whitened import EFFORTS
from calipers.models import Whitened, Whitening
from calipers.train import Recipe, Trainer, load_recipe
from calipers.train.accuracy import accuracy
from calipers.train.adversary import Adversary
from calipers.train.augmentation import Augmentation
from calipers.train.validation import Validation
from calipers.train.whitening import WhiteningSettings, behind

DIGITS = "b1714ace4613492a6ecb5e05055bee7bd9f35ebcdabe56f45404cc9921f41c54"
RECIPE = Recipe(
    model="digits.maxpool",
    data="digits",
    objective="margin",
    settings={"loss": "cross-entropy", "weight": 0.01},
    epochs=2,
    batch_size=50,
    checkpoint_every=3,
    augmentation=Augmentation(shift=1),
    validation=Validation(samples=50),
    whitening=WhiteningSettings(contrast=8.0),
)


def trained(trainer: Trainer) -> torch.nn.Module:
    for epoch in range(trainer.recipe.epochs):
        trainer.epoch(epoch, Silent())
    return trainer.result(trainer.finish(load_dataset("digits", "test", 100))).model.module


def test_it_is_training_on_whitened_images_and_none_that_validate_are_fitted_to(tmp_path: Path) -> None:
    data = load_dataset("digits", "train", 250)
    found = trained(Trainer(RECIPE, data, tmp_path / "whitened.json"))
    assert isinstance(found, Whitened)
    layers = Whitening((1, 8, 8), 8.0).fit(data.batch(slice(200))[0])
    assert torch.equal(found.whitening.zca.matrix, layers.zca.matrix)
    other = trained(
        Trainer(RECIPE.model_copy(update={"whitening": None}), behind(layers, data), tmp_path / "plain.json")
    )
    for name, value in other.state_dict().items():
        assert torch.equal(found.net.state_dict()[name], value), name
    held_out = load_dataset("digits", "test", 100)
    assert accuracy(found, held_out) == accuracy(other, behind(layers, held_out))


def test_stopped_and_resumed_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    class Stop(Silent):
        def advance(self, doing: str, done: int) -> None:
            if done == 6:
                raise KeyboardInterrupt

    data = load_dataset("digits", "train", 250)
    whole = trained(Trainer(RECIPE, data, tmp_path / "whole.json")).state_dict()
    stopped = Trainer(RECIPE, data, tmp_path / "stopped.json")
    stopped.epoch(0, Silent())
    with pytest.raises(KeyboardInterrupt):
        stopped.epoch(1, Stop())
    resumed = trained(Trainer(RECIPE, data, tmp_path / "stopped.json")).state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_a_domain_of_pixels_is_refused_behind_whitening() -> None:
    within = {"objective": "pgd", "settings": {}, "adversary": Adversary(epsilon=0.1).model_dump()}
    with pytest.raises(ValueError, match=r"adversary.domain = \[0.0, 1.0\].*accepted: --set adversary.domain=none"):
        Recipe.model_validate({**RECIPE.model_dump(), **within})
    free = {**within, "adversary": Adversary(epsilon=0.1, domain=None).model_dump()}
    assert Recipe.model_validate({**RECIPE.model_dump(), **free}).adversary is not None
    validated = {"validation": {"samples": 50, "adversary": Adversary(epsilon=0.1).model_dump()}}
    with pytest.raises(ValueError, match=r"validation.adversary.domain = \[0.0, 1.0\]"):
        Recipe.model_validate({**RECIPE.model_dump(), **validated})


@pytest.mark.parametrize(
    ("objective", "settings"),
    [("distillation", {"teacher": "digits.small"}), ("ensemble", {"sources": ["digits.small"]})],
)
def test_other_models_which_would_see_whitened_images_are_refused(objective: str, settings: dict[str, Any]) -> None:
    adversary = Adversary(epsilon=0.1, domain=None).model_dump() if objective == "ensemble" else None
    changes = {"objective": objective, "settings": settings, "adversary": adversary}
    with pytest.raises(ValueError, match=r"takes raw images, but would get whitened ones; accepted: recipes without"):
        Recipe.model_validate({**RECIPE.model_dump(), **changes})
    assert Recipe.model_validate({**RECIPE.model_dump(), **changes, "whitening": None}).objective == objective


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("whitening.contrast=0", "whitening.contrast = 0: accepted: greater than 0"),
        ("whitening.regularisation=-1", "whitening.regularisation = -1"),
        ("whitening.regularization=1", "did you mean regularisation"),
        ("whitening=true", "whitening = True"),
    ],
)
def test_faults_of_the_table_are_named(change: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe("cifar10.margin-nin", [change])


def test_recipes_that_do_not_whiten_have_the_digest_of_before() -> None:
    plain = RECIPE.model_copy(update={"whitening": None})
    digests = {plain.digest, RECIPE.digest, RECIPE.model_copy(update={"whitening": WhiteningSettings()}).digest}
    assert len(digests) == 3
    # Of the built-in recipe for digits, when there was no whitening.
    assert load_recipe("digits.small").digest == DIGITS


def test_the_built_in_recipes_are_those_of_the_table() -> None:
    assert load_recipe("cifar10.margin-nin").digest == EFFORTS["full"].recipe(NIN[4].weight, True).digest
    assert load_recipe("cifar10.margin-nin-small").digest == EFFORTS["quick"].recipe(0.1, False).digest
