import math
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from calipers.core.digests import digest_module
from calipers.core.errors import InputError, ModelError
from calipers.models import ZOO, load_model


@pytest.fixture
def state():
    return ZOO["digits.maxpool"].build().state_dict()


def test_a_zoo_name_gives_a_model_ready_to_measure():
    before = torch.get_rng_state()
    loaded = load_model("digits.maxpool")
    assert torch.equal(torch.get_rng_state(), before)
    assert not loaded.module.training
    assert not any(parameter.requires_grad for parameter in loaded.module.parameters())
    assert (loaded.name, loaded.input_shape, loaded.std, loaded.weights) == ("digits.maxpool", (1, 8, 8), None, None)
    assert loaded.digest == digest_module(loaded.module) == load_model("digits.maxpool").digest
    assert loaded.digest != load_model("digits.maxpool", init_seed=1).digest


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_weights_arrive_unchanged(tmp_path, state, suffix):
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    loaded = load_model("digits.maxpool", path)
    assert all(torch.equal(value, state[key]) for key, value in loaded.module.state_dict().items())
    assert loaded.weights == path


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(InputError, match=r"'capm.convsmal' is unknown; did you mean capm.convsmall"):
        load_model("capm.convsmal")


def test_clashes_are_named_with_both_shapes(tmp_path, state):
    other = {**state, "main.7.bias": torch.zeros(11), "extra": torch.zeros(2)}
    del other["main.0.bias"]
    safetensors.torch.save_file(other, tmp_path / "w.safetensors")
    with pytest.raises(ModelError) as caught:
        load_model("digits.maxpool", tmp_path / "w.safetensors")
    text = str(caught.value)
    assert "extra float32(2,) has no place in the model" in text
    assert "main.0.bias float32(8,) is missing" in text


def test_a_shape_clash_is_named_and_the_list_is_short(tmp_path, state):
    torch.save({key: torch.zeros(1, 1) for key in state}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"main.0.bias is float32\(1, 1\), the model's is float32\(8,\).*and 3 more"):
        load_model("digits.maxpool", tmp_path / "w.pt")


def test_a_type_that_would_lose_digits_is_refused_and_a_shorter_one_taken(tmp_path, state):
    torch.save({key: value.double() for key, value in state.items()}, tmp_path / "long.pt")
    torch.save({key: value.half() for key, value in state.items()}, tmp_path / "short.pt")
    with pytest.raises(ModelError, match=r"is float64\(8,\), the model's is float32\(8,\)"):
        load_model("digits.maxpool", tmp_path / "long.pt")
    weights = load_model("digits.maxpool", tmp_path / "short.pt").module.state_dict()
    assert all(torch.equal(weights[key], value.half().float()) for key, value in state.items())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_named_with_their_count(tmp_path, state, value):
    state["main.0.bias"][2:4] = value
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"main.0.bias has 2 of 8 values that are NaN or infinite"):
        load_model("digits.maxpool", tmp_path / "w.pt")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_damaged_file_is_called_damaged(tmp_path, state, suffix, content):
    path = tmp_path / f"w{suffix}"
    if content is None:
        if suffix == ".pt":
            torch.save(state, path)
        else:
            safetensors.torch.save_file(state, path)
        content = path.read_bytes()[:-500]
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"w\.(pt|safetensors): the file is damaged"):
        load_model("digits.maxpool", path)


def test_a_missing_file_and_an_unknown_ending(tmp_path):
    with pytest.raises(ModelError, match=r"none.safetensors: no such file"):
        load_model("digits.maxpool", tmp_path / "none.safetensors")
    (tmp_path / "w.ckpt").write_bytes(b"")
    with pytest.raises(ModelError, match=r"'.ckpt' is unknown; accepted: .safetensors, .pt, .pth"):
        load_model("digits.maxpool", tmp_path / "w.ckpt")


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_with_code_is_not_run(tmp_path):
    torch.save({"main.0.weight": Trap(tmp_path / "sprung")}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"needs code to run .*safetensors"):
        load_model("digits.maxpool", tmp_path / "w.pt")
    assert not (tmp_path / "sprung").exists()


def test_a_pickled_model_is_refused_with_the_remedy(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"needs code to run .*convert it: safetensors"):
        load_model("digits.maxpool", tmp_path / "w.pt")


@pytest.mark.parametrize("front", ["module.", "_orig_mod.", "module._orig_mod.", "net."])
@pytest.mark.parametrize("inside", ["state_dict", "model", None])
def test_weights_load_from_checkpoints_and_from_behind_a_prefix(tmp_path, state, front, inside):
    kept = {front + name: value for name, value in state.items()}
    torch.save(kept if inside is None else {inside: kept, "epoch": 3, "optimizer": {}}, tmp_path / "w.pt")
    loaded = load_model("digits.maxpool", tmp_path / "w.pt")
    assert all(torch.equal(value, state[key]) for key, value in loaded.module.state_dict().items())


def test_weights_of_another_network_behind_a_prefix_name_it(tmp_path, state):
    torch.save({f"module.{name}": value for name, value in list(state.items())[1:]}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"all its names begin with 'module\.'"):
        load_model("digits.maxpool", tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.safetensors", "w.bin", "net.pkl"])
def test_a_file_that_is_no_model_is_told_what_a_model_is(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ModelError, match=r"package\.module:callable, or a file \*\.pt2"):
        load_model(str(tmp_path / name))


def test_a_checkpoint_without_one_state_dict_is_named(tmp_path, state):
    torch.save({"ema": state, "epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="ema, epoch of its 2 entries are no tensors"):
        load_model("digits.maxpool", tmp_path / "w.pt")
    torch.save({"model": state, "net": state}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"several dicts that may be the weights \(model, net\)"):
        load_model("digits.maxpool", tmp_path / "w.pt")
    torch.save([1, 2], tmp_path / "w.pt")
    with pytest.raises(ModelError, match="holds a list"):
        load_model("digits.maxpool", tmp_path / "w.pt")


SOURCE = """
import torch
from calipers.models import Normalise

def net():
    return torch.nn.Sequential(Normalise([0.5], [0.25]), torch.nn.Flatten(), torch.nn.Linear(4, 3))

def broken():
    model = net()
    model[2].weight.data[0, 0] = float("nan")
    return model

def wrong():
    return 3

def failing():
    raise OSError("disk on fire")

number = 3
"""


def test_a_callable_of_the_working_directory_is_called(module_here):
    loaded = load_model(f"{module_here(SOURCE)}:net")
    assert (loaded.std, loaded.input_shape) == ((0.25,), None)
    assert not loaded.module.training


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("missing", "has no attribute 'missing'"),
        ("number", "is a int; accepted: a callable"),
        ("failing", "calling it failed with OSError: disk on fire"),
        ("wrong", "returned a int; accepted: a torch.nn.Module"),
        ("broken", "2.weight has 1 of 12 values that are NaN"),
    ],
)
def test_a_bad_callable_is_named(module_here, attribute, message):
    with pytest.raises(ModelError, match=message):
        load_model(f"{module_here(SOURCE)}:{attribute}")


def test_a_missing_module_is_named():
    with pytest.raises(ModelError, match="No module named 'nowhere_to_be_found'"):
        load_model("nowhere_to_be_found:net")


def test_onnx_files_go_to_the_reader_that_was_given(tmp_path):
    path = tmp_path / "net.onnx"
    with pytest.raises(ModelError, match=r"net.onnx: no such file"):
        load_model(str(path), onnx_loader=lambda _: nn.Linear(2, 3))
    path.write_bytes(b"")
    with pytest.raises(ModelError, match="no reader for ONNX"):
        load_model(str(path))
    seen = []

    def read(given: Path) -> nn.Module:
        seen.append(given)
        return nn.Linear(2, 3)

    loaded = load_model(str(path), onnx_loader=read)
    assert seen == [path]
    assert loaded.module(torch.zeros(1, 2)).shape == (1, 3)


def test_files_bring_their_own_weights(tmp_path):
    with pytest.raises(ModelError, match=r"a .pt2 file brings its own weights; leave out w.pt"):
        load_model("net.pt2", weights=tmp_path.relative_to(tmp_path) / "w.pt")
