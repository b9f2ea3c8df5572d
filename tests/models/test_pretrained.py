"""Weights that come with the package."""

import pytest
import torch

from calipers.data.loading import load_dataset
from calipers.models import ZOO, load_model, read_card, save_model
from calipers.models.zoo import pretrained
from calipers.models.zoo.pretrained import pretrained_card
from calipers.train import Recipe, load_recipe
from calipers.train.trainer import accuracy

CARDS = {name: card for name in ZOO if (card := pretrained_card(name)) is not None}


def test_there_are_some_and_they_are_small():
    assert list(CARDS) == ["digits.robust", "digits.small"]
    folder = CARDS["digits.small"].parent
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 2**20


@pytest.mark.parametrize("name", CARDS)
def test_they_are_used_by_default_and_as_accurate_as_their_card_says(name):
    model, card = load_model(name), read_card(CARDS[name])
    assert (model.name, model.random_weights, model.weights) == (name, False, None)
    assert model.digest == card.model_digest
    assert accuracy(model.module, load_dataset(card.recipe["data"])) == card.metrics["test_accuracy"] > 0.9


@pytest.mark.parametrize("name", CARDS)
def test_their_recipe_is_the_built_in_one_of_the_same_name(name):
    recipe, card = load_recipe(name), read_card(CARDS[name])
    assert Recipe.model_validate(card.recipe).digest == recipe.digest
    assert recipe.model == card.architecture == name
    assert card.data_digest == load_dataset(recipe.data, "train", recipe.samples).digest


def test_given_weights_come_first_and_other_networks_stay_as_initialised(tmp_path):
    net = ZOO["digits.small"].build()
    card = tmp_path / "mine.json"
    save_model(net, card, architecture="digits.small", recipe={}, seed=0, data_digest="", metrics={})
    for mine in (load_model(str(card)), load_model("digits.small", tmp_path / "mine.safetensors")):
        assert torch.equal(mine.module.state_dict()["main.0.weight"], net.state_dict()["main.0.weight"])
    assert load_model("digits.maxpool").random_weights
    assert not (pretrained._FOLDER / "digits.maxpool.json").exists()
