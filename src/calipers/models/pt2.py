"""Exported programs (`*.pt2`), read so that the file cannot run code.

`torch.export.load` is not safe on files of strangers: besides pickles it resolves operator names by attribute from
`torch` (which reaches `torch.os.system`), evaluates symbolic sizes with sympy, and executes guards as Python. So the
archive is rebuilt here from the parts that are understood, and everything else is refused.
"""

import io
import json
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from calipers.core.errors import ModelError

HARMLESS = re.compile(r"archive_(format|version)|byteorder|version|\.data/(version|serialization_id)|\.format_version")
TENSOR = re.compile(r"data/(weights/weight|constants/tensor)_\d+")
CONFIG = re.compile(r"data/(weights|constants)/model_\w+_config\.json")
INPUTS = "data/sample_inputs/model.pt"
GRAPH = "models/model.json"

OPERATOR = re.compile(
    r"torch\.ops\.aten\.(?!from_file)\w+\.\w+|_operator\.(add|sub|mul|floordiv|mod|neg|ge|le|gt|lt|eq|ne|getitem)"
)
NAME = re.compile(r"[\w.+\-]*")
TREE_TYPES = {None, "builtins.tuple", "builtins.list", "builtins.dict"}
SYMBOL = re.compile(r"Symbol\('[a-z]+\d+'(?:, (?:positive|integer|nonnegative)=True)*\)")
ARITHMETIC = re.compile(r"(?:(?:Integer|Add|Mul|Max|Min|Mod|FloorDiv|int_oo|oo)\b|[\d\s(),+\-])*")
# A string that an operator takes is a mode. No file name is among these, so no operator can touch a file.
MODES = {
    "none",
    "tanh",
    "floor",
    "trunc",
    "constant",
    "reflect",
    "replicate",
    "circular",
    "valid",
    "same",
    "mean",
    "sum",
}


def load_pt2(path: Path) -> nn.Module:
    """The module in an archive of `torch.export.save`, in eval mode.

    Raises ModelError where the file is missing, damaged, of an older format, or holds anything that could run code.
    """
    if not path.is_file():
        raise ModelError(f"model {path}: no such file")
    try:
        archive = _rebuilt(path)
        module = torch.export.load(archive).module()
    except ModelError:
        raise
    except Exception as error:  # torch raises errors of many kinds here, none of them documented
        raise ModelError(f"model {path}: the archive is damaged ({type(error).__name__}: {error})") from error
    return with_modes(module).eval()


def with_modes(module: nn.Module) -> nn.Module:
    """The module; torch forbids train() and eval() on exported ones, which afterwards set the flag and nothing else."""
    for name in ("train", "eval"):
        module.__dict__.pop(name, None)
    return module


def _rebuilt(path: Path) -> io.BytesIO:
    """A copy of the archive made of checked entries only."""
    copy = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as target:
        names = source.namelist()
        if not any(_inner(name) == GRAPH for name in names):
            raise ModelError(f"model {path}: no {GRAPH} in the archive; export it again with torch >= 2.8")
        if len(set(names)) < len(names):
            raise _refusal(path, "entry", "a name that occurs twice")
        for name in names:
            target.writestr(name, _checked(path, _inner(name), source.read(name)))
    copy.seek(0)
    return copy


def _checked(path: Path, name: str, content: bytes) -> bytes:
    if name == GRAPH:
        return _checked_graph(path, content)
    if CONFIG.fullmatch(name):
        _check_config(path, json.loads(content))
    elif name == INPUTS:
        _check_inputs(path, content)
    elif not (HARMLESS.fullmatch(name) or TENSOR.fullmatch(name)):
        raise _refusal(path, "entry", name)
    return content


def _check_config(path: Path, config: dict[str, Any]) -> None:
    for name, payload in config["config"].items():
        if payload["use_pickle"] or not re.fullmatch(r"(weight|tensor)_\d+", payload["path_name"]):
            raise _refusal(path, "pickled tensor or object", name)


def _check_inputs(path: Path, content: bytes) -> None:
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(path, "sample input", str(error).splitlines()[0]) from error


def _checked_graph(path: Path, content: bytes) -> bytes:
    program = json.loads(content)
    # Both are text that torch would execute or keep for messages; a classifier needs neither.
    program["guards_code"] = []
    for node in program["graph_module"]["graph"]["nodes"]:
        node["metadata"] = {}
    _walk(program, "", lambda key, text: _check_text(path, key, text))
    return json.dumps(program).encode()


def _walk(value: Any, key: str, check: Callable[[str, str], None]) -> None:
    """Call `check(key, text)` on every string below `value`, and on every key as well."""
    if isinstance(value, dict):
        for name, child in value.items():
            check("key", name)
            _walk(child, name, check)
    elif isinstance(value, list):
        for child in value:
            _walk(child, key, check)
    elif isinstance(value, str):
        check(key, value)


def _check_text(path: Path, key: str, text: str) -> None:
    if key in ("target", "as_operator"):
        accepted = OPERATOR.fullmatch(text) is not None
    elif key in ("as_string", "as_strings"):
        accepted = text in MODES
    elif key == "expr_str":
        accepted = ARITHMETIC.fullmatch(SYMBOL.sub("1", text)) is not None
    elif key in ("in_spec", "out_spec"):
        accepted = _plain_tree(json.loads(text))
    else:
        accepted = NAME.fullmatch(text) is not None
    if not accepted:
        raise _refusal(path, key, text)


def _plain_tree(spec: Any) -> bool:
    """Whether a tree of arguments is made of tuples, lists and dicts only; other types may import their module."""
    protocol, root = spec
    nodes, plain = [root], protocol == 1
    while nodes:
        node = nodes.pop()
        plain = plain and node["type"] in TREE_TYPES and "__enum__" not in str(node["context"])
        nodes += node["children_spec"]
    return plain


def _inner(name: str) -> str:
    """An entry's name without the archive's own name in front."""
    return name.partition("/")[2]


def _refusal(path: Path, kind: str, what: str) -> ModelError:
    return ModelError(
        f"model {path}: {kind} {what!r} could run code when the archive is opened; accepted: a plain export of aten "
        "operators and tensors. Use package.module:callable for a model that you trust"
    )
