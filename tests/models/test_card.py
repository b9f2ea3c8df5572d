import json
import math
import os

import pytest
import torch

from calipers.core.digests import digest_module
from calipers.core.errors import ModelError
from calipers.models import ZOO, load_model, read_card, save_model


@pytest.fixture
def model():
    return ZOO["digits.maxpool"].build()


def save(model, path, **changes):
    facts = {
        "architecture": "digits.maxpool",
        "recipe": {"name": "standard", "epochs": 3, "lr": 0.1, "schedule": [1, 2]},
        "seed": 7,
        "data_digest": "d" * 64,
        "metrics": {"clean": 0.5},
    }
    return save_model(model, path, **{**facts, **changes})


def test_a_model_comes_back_with_its_card(tmp_path, model):
    path = tmp_path / "new" / "net.json"
    card = save(model, path)
    assert read_card(path) == card
    assert sorted(file.name for file in path.parent.iterdir()) == ["net.json", "net.safetensors"]
    loaded = load_model(str(path))
    assert loaded.digest == card.model_digest == digest_module(model)
    assert loaded.input_shape == (1, 8, 8)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.module.state_dict().items())
    assert load_model("digits.maxpool", tmp_path / "new" / "net.safetensors").digest == card.model_digest
    assert card.versions["torch"] == torch.__version__


def test_an_architecture_of_the_working_directory(module_here, tmp_path):
    name = module_here("import torch\n\ndef net():\n    return torch.nn.Linear(2, 2)\n")
    card = save(torch.nn.Linear(2, 2), tmp_path / "net.json", architecture=f"{name}:net")
    assert load_model(str(tmp_path / "net.json")).digest == card.model_digest


def test_weights_of_another_model_are_noticed(tmp_path, model):
    save(model, tmp_path / "a.json")
    save(ZOO["digits.maxpool"].build(), tmp_path / "b.json")
    os.replace(tmp_path / "b.safetensors", tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match=r"the card says digest .* changed since the card was written"):
        load_model(str(tmp_path / "a.json"))


def test_a_crash_while_writing_leaves_the_old_files_whole(tmp_path, model, monkeypatch):
    path = tmp_path / "net.json"
    save(model, path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ModelError, match=r"cannot be written .No space left on device"):
        save(ZOO["digits.maxpool"].build(), path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_files_can_be_read_by_whom_the_umask_allows(tmp_path, model):
    save(model, tmp_path / "net.json")
    (tmp_path / "plain").touch()
    assert {file.stat().st_mode for file in tmp_path.iterdir()} == {(tmp_path / "plain").stat().st_mode}


def test_tied_weights_are_saved(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    model[1].weight = model[0].weight
    assert save(model, tmp_path / "net.json").weights == "net.safetensors"


def test_weights_that_are_not_finite_are_not_saved(tmp_path, model):
    model.main[0].bias.data[0] = math.nan
    with pytest.raises(ModelError, match=r"main.0.bias has 1 of 8 values"):
        save(model, tmp_path / "net.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.pop("seed"), "is no model card"),
        (lambda raw: raw.update(seed="many"), "is no model card"),
        (lambda raw: raw.update(surprise=1), "is no model card"),
        (lambda raw: raw.update(format_version=2), "format version 2; accepted: 1"),
        (lambda raw: raw.update(weights="../net.safetensors"), "must be a file name"),
    ],
)
def test_a_card_that_is_none(tmp_path, model, change, message):
    path = tmp_path / "net.json"
    save(model, path)
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))
    with pytest.raises(ModelError, match=message):
        load_model(str(path))


def test_damage_and_absence_are_named(tmp_path, model):
    with pytest.raises(ModelError, match=r"card .*net.json: cannot be read"):
        read_card(tmp_path / "net.json")
    (tmp_path / "net.json").write_text("{")
    with pytest.raises(ModelError, match="is no model card"):
        read_card(tmp_path / "net.json")
    with pytest.raises(ModelError, match=r"the ending is '.txt'; accepted: .json"):
        save(model, tmp_path / "net.txt")
