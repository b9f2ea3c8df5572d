"""ONNX files as models that a walk can read: unpacked, checked, functions inlined, one output, what it needs alone."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnx.external_data_helper import load_external_data_for_model, uses_external_data
from onnx.inliner import inline_local_functions

from calipers.core.errors import ModelError
from calipers.core.packed import read_packed

_PACKED = (".gz", ".bz2", ".xz")


def read_model(path: Path, output: str | None) -> onnx.ModelProto:
    """A file, packed (.gz, .bz2, .xz) or not, with its output of that name, or its only one.

    Raises ModelError if it cannot be read, is not valid, or does not have one such output and one input.
    """
    if path.is_dir():
        raise ModelError(f"model {path}: is a folder; accepted: an ONNX file")
    try:
        data = read_packed(path)
    except FileNotFoundError as error:
        raise ModelError(f"model {path}: there is no such file") from error
    except OSError as error:
        raise ModelError(f"model {path}: cannot be read ({error})") from error
    if not data:
        raise ModelError(f"model {path}: is empty; accepted: an ONNX file")
    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # protobuf's errors share no other base
        raise ModelError(f"model {path}: not a valid ONNX file ({first_line(error)}); is it complete?") from error
    _read_external(model, path)
    _require_valid(model, path)
    if model.functions:
        model = inline_local_functions(model)
    try:
        return _one_output(model, output)
    except ModelError as error:
        raise ModelError(f"model {path}: {error}") from error


def sizes_of(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """The declared shape, 0 for what is left open; None if nothing is declared."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    return tuple(max(0, dim.dim_value) for dim in value.type.tensor_type.shape.dim)


def constants_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Initializers by name."""
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def dense(value: onnx.SparseTensorProto) -> np.ndarray:
    """A sparse tensor with its zeros."""
    values, places = numpy_helper.to_array(value.values), numpy_helper.to_array(value.indices)
    shape = tuple(value.dims)
    flat = np.zeros(math.prod(shape), values.dtype)
    flat[places if places.ndim == 1 else np.ravel_multi_index(tuple(places.T), shape)] = values
    return flat.reshape(shape)


def _require_valid(model: onnx.ModelProto, path: Path) -> None:
    """Raise ModelError if the checker refuses a model and onnxruntime, which forgives some omissions, does so too."""
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # the checker's errors share no other base
        try:
            open_session(model)
        except ModelError:
            raise ModelError(f"model {path}: not a valid ONNX file ({first_line(error)})") from error


def open_session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A model as onnxruntime runs it. Raises ModelError if it refuses."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is raised; that declared shapes differ is no news
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no other base
        raise ModelError(f"model: onnxruntime refuses it ({first_line(error)})") from error


def _read_external(model: onnx.ModelProto, path: Path) -> None:
    """Read the weights that a model keeps in other files."""
    if not any(uses_external_data(tensor) for tensor in model.graph.initializer):
        return
    try:
        load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # the file is missing, too short, or outside the folder
        reason = f"its weights are in another file, which cannot be read ({first_line(error)}); keep both together"
        raise ModelError(f"model {path}: {reason}") from error


def _one_output(model: onnx.ModelProto, name: str | None) -> onnx.ModelProto:
    """The model with one output and what this needs; sparse weights are made dense."""
    graph = model.graph
    outputs = {item.name: item for item in graph.output}
    if name is None and len(outputs) != 1:
        raise ModelError(
            f"has {len(outputs)} outputs ({', '.join(outputs)}); accepted: one, choose it with --output NAME"
        )
    if name is not None and name not in outputs:
        raise ModelError(f"has no output {name!r}; accepted: {', '.join(outputs)}")
    chosen = next(iter(outputs.values())) if name is None else outputs[name]
    needed = {chosen.name}
    nodes = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(_read_by(node))
    for node in nodes:
        if node.op_type == "MaxPool" and not needed.intersection(node.output[1:]):
            del node.output[1:]  # indices that nobody reads
    filled = [numpy_helper.from_array(dense(item), item.values.name) for item in graph.sparse_initializer]
    weights = [item for item in (*graph.initializer, *filled) if item.name in needed]
    constant = {item.name for item in weights}
    given = [item for item in graph.input if item.name not in constant]
    inputs = [item for item in given if item.name in needed] or given[:1]
    if len(inputs) != 1:
        names = ", ".join(item.name for item in inputs)
        raise ModelError(
            f"has {len(inputs)} inputs ({names}); accepted: one, so make the others constants of the model"
        )
    small = onnx.helper.make_graph(nodes[::-1], graph.name or "graph", inputs, [chosen], weights)
    return onnx.helper.make_model(small, opset_imports=model.opset_import, ir_version=model.ir_version)


def _read_by(node: onnx.NodeProto) -> Iterator[str]:
    """The names that a node reads, also within its branches."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        graphs: Iterable[onnx.GraphProto] = [attribute.g] if attribute.HasField("g") else attribute.graphs
        for graph in graphs:
            yield from (item.name for item in graph.output)
            for inner in graph.node:
                yield from _read_by(inner)


def first_line(error: Exception) -> str:
    """An error of another library in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
