"""ONNX models to graphs. Every attribute is read or refused, none is ignored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from torch import Tensor

from calipers.core.errors import ModelError, UnsupportedLayerError
from calipers.graph import ops
from calipers.graph.graph import Graph, GraphModule, Node, check_graph


def from_onnx(path: Path) -> Graph:
    """The graph of an ONNX file, compared with onnxruntime on random inputs.

    Raises ModelError if the file cannot be read or the graph differs, UnsupportedLayerError for an operator or
    attribute without counterpart.
    """
    if not path.is_file():
        raise ModelError(f"model {path}: there is no such file")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # onnx raises protobuf and checker errors alike
        raise ModelError(f"model {path}: not a valid ONNX file ({str(error).splitlines()[0]})") from error
    graph = _Builder(model).build()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    check_graph(graph, lambda x: _run(session, x))
    return graph


def load_onnx(path: Path) -> GraphModule:
    """An ONNX file as a differentiable module."""
    return GraphModule(from_onnx(path))


def _run(session: onnxruntime.InferenceSession, x: Tensor) -> Tensor:
    given = session.get_inputs()[0]
    fixed = isinstance(given.shape[0], int)
    batches = x.split(given.shape[0]) if fixed else [x]
    outputs = [session.run(None, {given.name: batch.numpy()})[0] for batch in batches]
    return torch.from_numpy(np.concatenate(outputs))


class _Builder:
    """Walks one ONNX graph; thrown away afterwards."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.constant = {item.name: _tensor(numpy_helper.to_array(item)) for item in model.graph.initializer}
        inputs = [item for item in model.graph.input if item.name not in self.constant]
        if len(inputs) != 1 or len(model.graph.output) != 1:
            raise ModelError(
                f"model: {len(inputs)} inputs and {len(model.graph.output)} outputs; accepted: one of each"
            )
        shape = tuple(dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim)[1:]
        if not shape or not all(shape):
            raise ModelError(f"model: input shape {shape} has free dimensions; only the batch dimension may be free")
        self.nodes = [Node(inputs[0].name, ops.Input(), (), shape)]
        self.position = {inputs[0].name: 0}

    def build(self) -> Graph:
        for node in self.model.graph.node:
            if node.op_type not in _CONVERTERS:
                raise UnsupportedLayerError(_unsupported(node))
            _CONVERTERS[node.op_type](self, node)
        output = self.model.graph.output[0].name
        if self.position.get(output) != len(self.nodes) - 1:
            raise ModelError(f"model: its output {output!r} is not the last value that it computes")
        return Graph(tuple(self.nodes))

    def add(self, node: onnx.NodeProto, op: ops.Op, *inputs: str) -> None:
        positions = tuple(self.position[name] for name in inputs)
        with torch.no_grad():
            probe = op.evaluate(*(torch.zeros(1, *self.nodes[i].shape) for i in positions))
        self.nodes.append(Node(node.name or node.output[0], op, positions, tuple(probe.shape[1:])))
        self.position[node.output[0]] = len(self.nodes) - 1


def _attributes(node: onnx.NodeProto, **defaults: Any) -> dict[str, Any]:
    """Attributes over their defaults; one that is not listed is refused."""
    given = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise UnsupportedLayerError(_unsupported(node, f"attribute {unknown[0]}={given[unknown[0]]!r}"))
    return {**defaults, **given}


def _require(node: onnx.NodeProto, condition: bool, what: str) -> None:
    if not condition:
        raise UnsupportedLayerError(_unsupported(node, what))


def _conv(builder: _Builder, node: onnx.NodeProto) -> None:
    weight = builder.constant[node.input[1]]
    a = _attributes(
        node, auto_pad=b"NOTSET", dilations=[1, 1], group=1, kernel_shape=None, pads=[0, 0, 0, 0], strides=[1, 1]
    )
    _require(node, weight.dim() == 4, f"with a {weight.dim() - 2}-d kernel")
    bias = builder.constant[node.input[2]] if len(node.input) > 2 else weight.new_zeros(len(weight))
    op = ops.Conv2d(weight, bias, tuple(a["strides"]), _pads(node, a), tuple(a["dilations"]), a["group"])
    builder.add(node, op, node.input[0])


def _max_pool(builder: _Builder, node: onnx.NodeProto) -> None:
    a = _attributes(
        node,
        auto_pad=b"NOTSET",
        ceil_mode=0,
        dilations=[1, 1],
        kernel_shape=None,
        pads=[0, 0, 0, 0],
        storage_order=0,
        strides=[1, 1],
    )
    _require(node, a["ceil_mode"] == 0, "ceil_mode=1")
    _require(node, len(a["kernel_shape"]) == 2, "that is not 2-d")
    op = ops.MaxPool2d(tuple(a["kernel_shape"]), tuple(a["strides"]), _pads(node, a), tuple(a["dilations"]))
    builder.add(node, op, node.input[0])


def _pads(node: onnx.NodeProto, attributes: dict[str, Any]) -> tuple[int, int]:
    _require(node, attributes["auto_pad"] in (b"NOTSET", b"VALID"), f"auto_pad={attributes['auto_pad']!r}")
    top, left, bottom, right = attributes["pads"]
    _require(node, (top, left) == (bottom, right), f"with uneven pads {attributes['pads']}")
    return (top, left)


def _gemm(builder: _Builder, node: onnx.NodeProto) -> None:
    a = _attributes(node, alpha=1.0, beta=1.0, transA=0, transB=0)
    _require(node, a["transA"] == 0 and node.input[1] in builder.constant, "with transA or a computed matrix")
    weight = builder.constant[node.input[1]] * a["alpha"]
    weight = weight if a["transB"] else weight.T
    bias = weight.new_zeros(len(weight))
    if len(node.input) > 2:
        bias = (builder.constant[node.input[2]] * a["beta"]).expand(len(weight)).reshape(-1)
    builder.add(node, ops.Linear(weight.contiguous(), bias), node.input[0])


def _matmul(builder: _Builder, node: onnx.NodeProto) -> None:
    _require(node, node.input[1] in builder.constant, "with a computed matrix")
    weight = builder.constant[node.input[1]].T.contiguous()
    flat = len(builder.nodes[builder.position[node.input[0]]].shape) == 1
    _require(node, weight.dim() == 2 and flat, "that is not vector by matrix")
    builder.add(node, ops.Linear(weight, weight.new_zeros(len(weight))), node.input[0])


def _relu(builder: _Builder, node: onnx.NodeProto) -> None:
    builder.add(node, ops.Relu(), node.input[0])


def _reshape(builder: _Builder, node: onnx.NodeProto) -> None:
    shape = builder.nodes[builder.position[node.input[0]]].shape
    size = int(np.prod(shape))
    if node.op_type == "Flatten":
        _require(node, _attributes(node, axis=1)["axis"] == 1, "with an axis other than 1")
        builder.add(node, ops.Reshape((size,)), node.input[0])
        return
    _require(node, not _attributes(node, allowzero=0)["allowzero"], "allowzero=1")
    target = [int(v) for v in builder.constant[node.input[1]]][1:]
    target = [shape[i] if v == 0 else v for i, v in enumerate(target)]
    known = int(np.prod([v for v in target if v != -1]))
    full = tuple(size // known if v == -1 else v for v in target)
    _require(node, int(np.prod(full)) == size, f"to {full}, which mixes samples of shape {shape}")
    builder.add(node, ops.Reshape(full), node.input[0])


def _batch_norm(builder: _Builder, node: onnx.NodeProto) -> None:
    a = _attributes(node, epsilon=1e-5, momentum=0.9, training_mode=0)
    _require(node, a["training_mode"] == 0, "in training mode")
    factor, bias, mean, variance = (builder.constant[name] for name in node.input[1:5])
    factor = factor / torch.sqrt(variance + a["epsilon"])
    ones = [1] * (len(builder.nodes[builder.position[node.input[0]]].shape) - 1)
    shift = bias - mean * factor
    builder.add(node, ops.Scale(factor.reshape(-1, *ones), shift.reshape(-1, *ones)), node.input[0])


def _identity(builder: _Builder, node: onnx.NodeProto) -> None:
    builder.position[node.output[0]] = builder.position[node.input[0]]


def _constant(builder: _Builder, node: onnx.NodeProto) -> None:
    builder.constant[node.output[0]] = _tensor(numpy_helper.to_array(_attributes(node, value=None)["value"]))


def _arithmetic(builder: _Builder, node: onnx.NodeProto) -> None:
    left, right = node.input
    if left in builder.position and right in builder.position:
        _require(node, node.op_type == "Add", "of two computed values")
        builder.add(node, ops.Add(), left, right)
        return
    first = left in builder.position
    variable, constant = (left, builder.constant[right]) if first else (right, builder.constant[left])
    shape = builder.nodes[builder.position[variable]].shape
    if constant.dim() > len(shape):
        _require(node, constant.shape[0] == 1, "with a constant that depends on the place in the batch")
        constant = constant[0]
    constant = constant.reshape(*([1] * (len(shape) - constant.dim())), *constant.shape)
    one, zero = torch.ones_like(constant), torch.zeros_like(constant)
    _require(node, node.op_type != "Div" or first, "by a computed value")
    weight, bias = {
        "Add": (one, constant),
        "Sub": (one, -constant) if first else (-one, constant),
        "Mul": (constant, zero),
        "Div": (1 / constant, zero),
    }[node.op_type]
    builder.add(node, ops.Scale(weight, bias), variable)


_CONVERTERS: dict[str, Callable[[_Builder, onnx.NodeProto], None]] = {
    "Add": _arithmetic,
    "BatchNormalization": _batch_norm,
    "Constant": _constant,
    "Conv": _conv,
    "Div": _arithmetic,
    "Dropout": _identity,
    "Flatten": _reshape,
    "Gemm": _gemm,
    "Identity": _identity,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "Mul": _arithmetic,
    "Relu": _relu,
    "Reshape": _reshape,
    "Sub": _arithmetic,
}


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.copy())


def _unsupported(node: onnx.NodeProto, detail: str = "") -> str:
    what = f"{node.op_type} {detail}".strip()
    return (
        f"layer {node.name or node.output[0]!r}: {what} of {', '.join(node.input)} is not supported; "
        f"supported: {', '.join(sorted(_CONVERTERS))}"
    )
