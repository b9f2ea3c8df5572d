import io
import json
import pickle
import zipfile

import pytest
import torch
from torch import nn

from calipers.core.errors import ModelError
from calipers.models import ZOO, load_model

SIZE = "Symbol('s"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """An exported digits network with a free batch size: (path, model)."""
    path = tmp_path_factory.mktemp("pt2") / "net.pt2"
    model = ZOO["digits.maxpool"].build().eval()
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(model, (torch.rand(2, 1, 8, 8),), dynamic_shapes=(batch,))
    torch.export.save(program, path)
    return path, model


def tampered(archive, target, change):
    """A copy of the archive with `change(inner name, content)` applied; None drops an entry."""
    with zipfile.ZipFile(archive[0]) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            content = change(name.partition("/")[2], source.read(name))
            if content is not None:
                copy.writestr(name, content)
    return target


def graph_change(edit):
    def change(name, content):
        if name != "models/model.json":
            return content
        program = json.loads(content)
        edit(program)
        return json.dumps(program).encode()

    return change


def test_an_exported_model_answers_as_the_original(archive):
    path, model = archive
    loaded = load_model(str(path))
    x = torch.rand(7, 1, 8, 8, requires_grad=True)
    torch.testing.assert_close(loaded.module(x), model(x))
    assert not loaded.module.training
    assert not any(parameter.requires_grad for parameter in loaded.module.parameters())
    (gradient,) = torch.autograd.grad(loaded.module(x).sum(), x)
    assert gradient.abs().max() > 0
    assert loaded.digest == load_model(str(path)).digest


def test_constants_and_a_fixed_batch_survive(tmp_path):
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)
            self.shift = torch.tensor([0.5])

        def forward(self, x):
            return self.linear(nn.functional.pad(x - self.shift, (1, 0)).clamp(min=0))

    model, x = Shifted().eval(), torch.rand(4, 2)
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "net.pt2")
    torch.testing.assert_close(load_model(str(tmp_path / "net.pt2")).module(x), model(x))


def test_an_operator_outside_aten_is_refused(archive, tmp_path):
    def edit(program):
        program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.os.system"

    path = tampered(archive, tmp_path / "net.pt2", graph_change(edit))
    with pytest.raises(ModelError, match=r"target 'torch.os.system' could run code"):
        load_model(str(path))


def test_a_size_that_is_code_is_not_evaluated(archive, tmp_path):
    code = f"__import__('pathlib').Path('{tmp_path}/sprung').touch()"

    def change(name, content):
        start = content.find(SIZE.encode())
        if name != "models/model.json" or start < 0:
            return content
        end = content.index(b")", start) + 1
        return content.replace(content[start:end], code.encode())

    path = tampered(archive, tmp_path / "net.pt2", change)
    with pytest.raises(ModelError, match=r"expr_str .* could run code"):
        load_model(str(path))
    assert not (tmp_path / "sprung").exists()
    # The trap works: torch itself walks into it.
    with pytest.raises(AttributeError):
        torch.export.load(path)
    assert (tmp_path / "sprung").exists()


def test_guards_are_not_executed(archive, tmp_path):
    def edit(program):
        program["guards_code"] = [f"open('{tmp_path}/sprung', 'w') is not None"]

    load_model(str(tampered(archive, tmp_path / "net.pt2", graph_change(edit))))
    assert not (tmp_path / "sprung").exists()


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickled_sample_inputs_are_not_run(archive, tmp_path):
    trap = io.BytesIO()
    torch.save(((Trap(tmp_path / "sprung"),), {}), trap)
    change = lambda name, content: trap.getvalue() if name == "data/sample_inputs/model.pt" else content  # noqa: E731
    with pytest.raises(ModelError, match=r"sample input .* could run code"):
        load_model(str(tampered(archive, tmp_path / "net.pt2", change)))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("field", [{"use_pickle": True}, {"path_name": "opaque_obj_0"}, {"path_name": "custom_obj_0"}])
def test_pickled_tensors_and_objects_are_refused(archive, tmp_path, field):
    def change(name, content):
        if name != "data/weights/model_weights_config.json":
            return content
        config = json.loads(content)
        config["config"]["main.0.weight"].update(field)
        return json.dumps(config).encode()

    with pytest.raises(ModelError, match=r"pickled tensor or object 'main.0.weight'"):
        load_model(str(tampered(archive, tmp_path / "net.pt2", change)))


@pytest.mark.parametrize(
    "name", ["data/weights/model.pt", "data/aotinductor/model/a.so", "data/constants/opaque_obj_0"]
)
def test_entries_that_are_not_understood_are_refused(archive, tmp_path, name):
    path = tampered(archive, tmp_path / "net.pt2", lambda _, content: content)
    with zipfile.ZipFile(path, "a") as target:
        target.writestr(f"net/{name}", pickle.dumps(0))
    with pytest.raises(ModelError, match=f"entry '{name}' could run code"):
        load_model(str(path))


@pytest.mark.parametrize("text", ["x): import os #", "x\ny", "a(b)", "x=1"])
def test_names_that_would_become_python_text_are_refused(archive, tmp_path, text):
    def edit(program):
        program["graph_module"]["module_call_graph"][0]["signature"]["forward_arg_names"] = [text]

    with pytest.raises(ModelError, match=r"forward_arg_names .* could run code"):
        load_model(str(tampered(archive, tmp_path / "net.pt2", graph_change(edit))))


def test_argument_trees_of_other_types_are_refused(archive, tmp_path):
    def edit(program):
        signature = program["graph_module"]["module_call_graph"][0]["signature"]
        signature["in_spec"] = signature["in_spec"].replace("builtins.dict", "my.module.Type")

    with pytest.raises(ModelError, match=r"in_spec .* could run code"):
        load_model(str(tampered(archive, tmp_path / "net.pt2", graph_change(edit))))


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_what_is_no_archive_is_called_damaged(tmp_path, content):
    (tmp_path / "net.pt2").write_bytes(content)
    with pytest.raises(ModelError, match=r"net.pt2: the archive is damaged"):
        load_model(str(tmp_path / "net.pt2"))
    with pytest.raises(ModelError, match="no such file"):
        load_model(str(tmp_path / "none.pt2"))


def test_an_incomplete_archive_is_called_damaged(archive, tmp_path):
    path = tampered(archive, tmp_path / "net.pt2", lambda name, c: None if name == "data/weights/weight_0" else c)
    with pytest.raises(ModelError, match="damaged"):
        load_model(str(path))


def test_an_archive_without_graph_is_of_another_format(archive, tmp_path):
    path = tampered(archive, tmp_path / "net.pt2", lambda name, c: None if name == "models/model.json" else c)
    with pytest.raises(ModelError, match="export it again"):
        load_model(str(path))
