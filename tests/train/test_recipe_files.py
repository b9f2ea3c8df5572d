"""Recipes as files: changes from the command line, and errors that name the key."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calipers.core.errors import InputError
from calipers.train import OBJECTIVES, Recipe, built_in_recipes, load_recipe
from calipers.train.recipe import Adversary
from tests.train.needed import NEEDED

BOTH = 'model = "m"\ndata = "d"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('model = "m"', "data: is missing"),
        (BOTH + "epoch = 3", "epoch = 3: key 'epoch' is unknown; did you mean epochs?"),
        (BOTH + "epochs = 0", "epochs = 0: accepted: greater than or equal to 1"),
        (BOTH + 'epochs = "many"', "epochs = 'many': accepted: a valid integer"),
        (BOTH + "epochs = 1.5", "epochs = 1.5: accepted: a valid integer"),
        (BOTH + "optimizer = 3", "optimizer = 3: accepted: a valid dictionary"),
        (BOTH + "settings = 3", "settings = 3: accepted: a valid dictionary"),
        (BOTH + 'objective = "pgd"', "needs a table"),
        (BOTH + "[adversary]\nepsilon = 0.1", "must have no table"),
        (BOTH + 'objective = "trade"', "did you mean trades"),
        (BOTH + 'objective = "trade"\n[settings]\nbeta = 6', "did you mean trades"),
        (BOTH + "[settings]\nbeta = 6", "settings.beta = 6: key 'beta' is unknown; known: penalties"),
        (BOTH + 'objective = "margin"\n[settings]\nwieght = 6', "settings.wieght = 6: .*did you mean weight?"),
        (BOTH + 'objective = "margin"\n[settings]\nweight = -1', "settings.weight = -1: accepted: greater than or eq"),
        (BOTH + "[optimizer]\nlearning = 6", "optimizer.learning = 6: .*did you mean learning_rate?"),
        (BOTH + "[optimiser]\nlearning_rate = 6", "key 'optimiser' is unknown; did you mean optimizer?"),
        (
            BOTH + 'objective = "pgd"\n[adversary]\neps = 0.1',
            "adversary.epsilon: is missing; adversary.eps = 0.1: .*did",
        ),
        (
            BOTH + 'objective = "pgd"\n[adversary]\nepsilon = 0.1\nnorm = "l3"',
            "adversary.norm = 'l3': accepted: 'linf'",
        ),
        (BOTH + "[schedule]\nmilestones = [1, 'x']", "schedule.milestones.1 = 'x': accepted: a valid number"),
        (BOTH + "labelled = 3", "labelled: objective 'standard' needs all labels"),
        ("model = ", "not valid TOML"),
    ],
)
def test_recipes_with_faults_name_the_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_recipe(str(path))
    assert str(caught.value).startswith(f"recipe {path}: ")
    assert "pydantic" not in str(caught.value)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('data = "d"\nepochs = 0\n[optimizer]\ndecay = 2')
    with pytest.raises(InputError, match=r"model: is missing; epochs = 0: .*; optimizer.decay = 2: ") as caught:
        load_recipe(str(tmp_path / "r.toml"))
    assert "\n" not in str(caught.value)


def test_files_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(BOTH.encode() + b'description = "\xff"')
    with pytest.raises(InputError, match=r"byte 38 is not UTF-8 .*accepted: a TOML file in UTF-8"):
        load_recipe(str(path))
    with pytest.raises(InputError, match="cannot be read"):
        load_recipe(str(tmp_path))
    path.write_bytes(b"\xef\xbb\xbf" + BOTH.encode())  # what Notepad begins a file with
    assert load_recipe(str(path)).model == "m"


def test_unknown_recipes_list_the_built_in_ones() -> None:
    with pytest.raises(InputError, match=r"built in: .*digits"):
        load_recipe("digit")


@pytest.mark.parametrize("name", built_in_recipes())
def test_built_in_recipes_are_valid_and_say_what_they_are(name: str) -> None:
    recipe = load_recipe(name)
    assert 20 < len(recipe.description) <= 95  # one line of 140
    assert "description" not in recipe.model_dump()
    assert recipe.digest == Recipe.model_validate(recipe.model_dump(mode="json")).digest


@pytest.mark.parametrize(
    ("change", "path", "value"),
    [
        ("epochs=5", ["epochs"], 5),
        ("epochs = 5", ["epochs"], 5),
        ("optimizer.learning_rate=2e-3", ["optimizer", "learning_rate"], 2e-3),
        ("optimizer.name=sgd", ["optimizer", "name"], "sgd"),
        ('optimizer.name="sgd"', ["optimizer", "name"], "sgd"),
        ("model=digits.small", ["model"], "digits.small"),
        ("schedule.milestones=[0.1, 0.2]", ["schedule", "milestones"], (0.1, 0.2)),
        ("augmentation.flip=true", ["augmentation", "flip"], True),
        ("samples=100", ["samples"], 100),
        ("samples=none", ["samples"], None),
        ("adversary.domain=none", ["adversary", "domain"], None),
        ("data=my.data:load", ["data"], "my.data:load"),
    ],
)
def test_changes_reach_their_key_as_its_type(change: str, path: list[str], value: Any) -> None:
    found: Any = load_recipe("digits", [change])
    for name in path:
        found = getattr(found, name)
    assert (found, type(found)) == (value, type(value))


def test_changes_go_on_from_each_other_and_add_tables() -> None:
    changes = ["objective=trades", "settings.beta=2", "adversary.epsilon=0.3", "adversary.epsilon=0.2"]
    recipe = load_recipe("digits.small", changes)
    assert (recipe.objective, recipe.settings["beta"]) == ("trades", 2.0)
    assert recipe.adversary == Adversary(epsilon=0.2)
    assert load_recipe("digits", ["objective=standard", "adversary=none"]).adversary is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("epochs", "--set 'epochs': is no assignment; accepted: KEY=VALUE"),
        ("=5", "is no assignment"),
        ("optimizer.=5", "is no assignment"),
        ("epoch=5", "epoch = 5: .*did you mean epochs?"),
        ("optimizer.rate=5", "optimizer.rate = 5: "),
        ("epochs.more=5", "--set epochs.more=5: epochs is 30 and no table"),
        ("objective.beta=5", "accepted: settings.beta=5"),
        ("epochs=five", "epochs = 'five': accepted: a valid integer"),
    ],
)
def test_changes_with_faults_name_the_key(change: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe("digits", [change])


@given(st.text())
def test_any_text_that_is_set_is_taken_or_is_an_error_of_use(text: str) -> None:
    try:
        load_recipe("digits", [text])
    except InputError:
        return
    assert "=" in text


def test_a_default_written_out_is_the_same_run() -> None:
    for name in OBJECTIVES:
        kind = OBJECTIVES[name]
        needed: dict[str, Any] = {"adversary": Adversary(epsilon=0.1)} if kind.adversarial else {}
        least = NEEDED.get(name, {})
        short = Recipe(model="m", data="d", objective=name, settings=least, **needed)
        settings = kind.settings(**least).model_dump()
        said = {"epochs": 10, "settings": settings, "optimizer": {"name": "adam"}, "description": "my own"}
        long = Recipe(**{**short.model_dump(), **said})
        assert short.digest == long.digest
    adversaries = (Adversary(epsilon=0.1, steps=5), Adversary(epsilon=0.1, steps=5, step_size=0.5))
    short, long = (Recipe(model="m", data="d", objective="pgd", adversary=one) for one in adversaries)
    assert short.digest == long.digest
    assert short.digest != Recipe(model="m", data="d", objective="pgd", adversary=Adversary(epsilon=0.1)).digest
