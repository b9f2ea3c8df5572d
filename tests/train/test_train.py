import json
from typing import Any, Literal

import pytest
import torch
from torch import nn

from calipers.core.errors import InputError, StoreError
from calipers.core.threat import ThreatModel
from calipers.data.images import ImageDataset
from calipers.data.loading import load_dataset
from calipers.models.loading import load_model
from calipers.train import Recipe, built_in_recipes, load_recipe, steps_of, train
from calipers.train.objective import AdversarialPGD, Standard
from calipers.train.recipe import Adversary

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


def quiet(what: str, done: int) -> None:
    """Nobody listens."""


@pytest.mark.parametrize("objective", ["standard", "pgd"])
def test_resuming_at_any_batch_ends_with_the_same_weights(
    tmp_path, data: Data, objective: Literal["standard", "pgd"]
) -> None:
    recipe = Recipe(**QUICK, objective=objective, adversary=ADVERSARY if objective == "pgd" else None)
    whole = train(recipe, *data, tmp_path / "whole.json", quiet)

    def stop(what: str, done: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    parts = tmp_path / "parts.json"
    with pytest.raises(KeyboardInterrupt):
        train(recipe, *data, parts, stop)
    seen = []
    resumed = train(recipe, *data, parts, lambda what, done: seen.append(done), resume=True)
    assert seen[0] == 6  # the last checkpoint
    for name, weight in whole.model.module.state_dict().items():
        assert torch.equal(weight, resumed.model.module.state_dict()[name])
    assert not parts.with_suffix(".checkpoint").exists()


def test_training_learns_and_the_card_says_how(tmp_path, data: Data) -> None:
    recipe = Recipe(**{**QUICK, "epochs": 12, "optimizer": {"learning_rate": 0.01}})
    trained = train(recipe, *data, tmp_path / "net.json", quiet)
    assert trained.metrics["train_accuracy"] > 0.9
    card = json.loads(trained.card.read_text())
    assert card["architecture"] == "digits.maxpool"
    assert card["recipe"]["optimizer"]["learning_rate"] == 0.01
    assert load_model(str(trained.card)).digest == trained.model.digest


def test_adversarial_samples_stay_in_the_ball_and_raise_the_loss(data) -> None:
    model, _ = load_model("digits.maxpool").module, torch.manual_seed(0)
    model.requires_grad_(True).train()
    x, y = data[0].batch(range(64))
    objective = AdversarialPGD(ThreatModel("linf", 0.1).for_model(None), steps=5, step_size=0.5)
    adversarial = objective.perturb(model, x, y)
    assert objective.threat.around(x).contains(adversarial).all()
    assert bool(objective.loss(model, x, y) > Standard().loss(model, x, y))
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
        AdversarialPGD(ThreatModel("linf", 0.1).for_model(None), 1, 1.0).perturb(model, *data[0].batch(range(2)))
    assert model.training
    assert model.weight.requires_grad


def test_a_checkpoint_of_another_recipe_or_a_damaged_one_is_named(tmp_path, data: Data) -> None:
    recipe = Recipe(**QUICK)

    def stop(what: str, done: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    out = tmp_path / "net.json"
    with pytest.raises(KeyboardInterrupt):
        train(recipe, *data, out, stop)
    with pytest.raises(InputError, match="made by recipe"):
        train(recipe.model_copy(update={"seed": 5}), *data, out, quiet, resume=True)
    out.with_suffix(".checkpoint").write_bytes(b"torn")
    with pytest.raises(StoreError, match="is damaged"):
        train(recipe, *data, out, quiet, resume=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('model = "m"', "data: Field required"),
        ('model = "m"\ndata = "d"\nepoch = 3', "epoch: Extra inputs are not permitted"),
        ('model = "m"\ndata = "d"\nepochs = 0', "epochs: Input should be greater than or equal to 1"),
        ('model = "m"\ndata = "d"\nobjective = "pgd"', "needs a table"),
        ('model = "m"\ndata = "d"\n[adversary]\nepsilon = 0.1', "must have none"),
        ("model = ", "not valid TOML"),
    ],
)
def test_recipes_with_faults_name_them(tmp_path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_recipe(str(path))


def test_unknown_recipes_list_the_built_in_ones() -> None:
    with pytest.raises(InputError, match=r"built in: .*digits"):
        load_recipe("digit")


@pytest.mark.parametrize("name", built_in_recipes())
def test_built_in_recipes_are_valid(name: str) -> None:
    assert load_recipe(name).digest == load_recipe(name).digest


def test_a_model_that_does_not_fit_the_data_is_named(tmp_path, data: Data) -> None:
    recipe = Recipe(**{**QUICK, "model": "capm.convsmall"})
    with pytest.raises(InputError, match=r"\(1, 8, 8\)"):
        train(recipe, *data, tmp_path / "net.json", quiet)
    assert steps_of(recipe, data[0]) == 10
