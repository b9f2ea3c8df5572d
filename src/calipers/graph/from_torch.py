"""torch modules to graphs, through torch.export."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from calipers.core.errors import ModelError, UnsupportedLayerError
from calipers.graph import ops
from calipers.graph.graph import Graph, Node, check_graph

aten = torch.ops.aten


def from_module(model: nn.Module, example: Tensor) -> Graph:
    """The graph of a module in eval mode. example: a batch of at least two inputs, for shapes only.

    The graph is compared with the module on random inputs. Raises UnsupportedLayerError for a layer without
    counterpart and ModelError if the module cannot be traced or the graph differs from it.
    """
    try:
        program = torch.export.export(model, (example,), dynamic_shapes=({0: Dim.AUTO},), strict=False)
    except Exception as error:  # torch.export raises many types; all mean the same to the user
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"model: torch.export cannot trace it ({first}); a verifier needs a model without control flow on its "
            "input, with a free batch dimension"
        ) from error
    graph = _Builder(program, tuple(example.shape[1:])).build()
    check_graph(graph, model)
    return graph


class _Builder:
    """Walks one exported program; thrown away afterwards."""

    def __init__(self, program: ExportedProgram, input_shape: tuple[int, ...]) -> None:
        self.program = program
        self.nodes = [Node("input", ops.Input(), (), input_shape)]
        self.position: dict[torch.fx.Node, int] = {}
        self.constant: dict[torch.fx.Node, Tensor] = {}

    def build(self) -> Graph:
        signature = self.program.graph_signature
        held = {**self.program.state_dict, **self.program.constants}
        sources = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                if node.name in sources:
                    self.constant[node] = held[sources[node.name]].detach()
                else:
                    self.position[node] = 0
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                result = node.args[0][0]
                if self.position[result] != len(self.nodes) - 1:
                    raise ModelError(f"model: its output {result.name!r} is not the last value that it computes")
        return Graph(tuple(self.nodes))

    def _call(self, node: torch.fx.Node) -> None:
        if any(isinstance(user_input, torch.fx.Node) for user_input in node.all_input_nodes) and all(
            argument in self.constant for argument in node.all_input_nodes
        ):
            self.constant[node] = node.target(*[self.constant.get(a, a) for a in node.args], **node.kwargs)  # type: ignore[operator,arg-type]
            return
        if node.target not in _CONVERTERS:
            if not any(argument in self.position for argument in node.all_input_nodes):
                return  # shape arithmetic on the free batch dimension
            if isinstance(node.meta.get("val"), torch.SymInt):
                return
            raise UnsupportedLayerError(_unsupported(node))
        _CONVERTERS[node.target](self, node)

    def add(self, node: torch.fx.Node, op: ops.Op, *inputs: torch.fx.Node) -> None:
        shape = tuple(int(size) for size in node.meta["val"].shape[1:])
        self.nodes.append(Node(_layer(node), op, tuple(self.position[i] for i in inputs), shape))
        self.position[node] = len(self.nodes) - 1

    def skip(self, node: torch.fx.Node) -> None:
        """The node changes nothing: its value is its first input's."""
        self.position[node] = self.position[_node(node.args[0])]

    def value(self, argument: Any) -> Tensor:
        """A constant operand."""
        return self.constant[argument] if argument in self.constant else torch.as_tensor(float(argument))


Converter = Callable[[_Builder, torch.fx.Node], None]
_CONVERTERS: dict[Any, Converter] = {}


def _converts(*targets: Any) -> Callable[[Converter], Converter]:
    def register(converter: Converter) -> Converter:
        _CONVERTERS.update(dict.fromkeys(targets, converter))
        return converter

    return register


@_converts(aten.linear.default)
def _linear(builder: _Builder, node: torch.fx.Node) -> None:
    weight = builder.constant[_node(node.args[1])]
    bias = _bias(builder, node, len(weight))
    builder.add(node, ops.Linear(weight, bias), _node(node.args[0]))


@_converts(aten.conv2d.default, aten.conv2d.padding)
def _conv2d(builder: _Builder, node: torch.fx.Node) -> None:
    weight = builder.constant[_node(node.args[1])]
    stride, padding, dilation, groups = _arguments(node, 3, ([1, 1], [0, 0], [1, 1], 1))
    dilation = _pair(dilation)
    if isinstance(padding, str):
        padding = _named_padding(node, padding, weight, dilation)
    bias = _bias(builder, node, len(weight))
    op = ops.Conv2d(weight, bias, _pair(stride), _pair(padding), dilation, groups)
    builder.add(node, op, _node(node.args[0]))


@_converts(aten.max_pool2d.default)
def _max_pool2d(builder: _Builder, node: torch.fx.Node) -> None:
    kernel, stride, padding, dilation, ceil_mode = _arguments(node, 1, ([1, 1], [], [0, 0], [1, 1], False))
    if ceil_mode:
        raise UnsupportedLayerError(_unsupported(node, "ceil_mode=True"))
    op = ops.MaxPool2d(_pair(kernel), _pair(stride or kernel), _pair(padding), _pair(dilation))
    builder.add(node, op, _node(node.args[0]))


@_converts(aten.relu.default, aten.relu_.default)
def _relu(builder: _Builder, node: torch.fx.Node) -> None:
    builder.add(node, ops.Relu(), _node(node.args[0]))


@_converts(aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten.unflatten.int)
def _reshape(builder: _Builder, node: torch.fx.Node) -> None:
    batch = node.meta["val"].shape[0]
    if not isinstance(batch, torch.SymInt):
        raise UnsupportedLayerError(_unsupported(node, "reshape that fixes or mixes the batch dimension"))
    builder.add(node, ops.Reshape(tuple(int(size) for size in node.meta["val"].shape[1:])), _node(node.args[0]))


@_converts(aten.batch_norm.default, aten._native_batch_norm_legit_no_training.default)
def _batch_norm(builder: _Builder, node: torch.fx.Node) -> None:
    weight, bias, mean, variance = (None if a is None else builder.constant[_node(a)] for a in node.args[1:5])
    if mean is None or variance is None:
        raise UnsupportedLayerError(_unsupported(node, "BatchNorm without running statistics"))
    epsilon = node.args[7] if node.target is aten.batch_norm.default else node.args[6]
    factor = (torch.ones_like(mean) if weight is None else weight) / (variance + float(epsilon)).sqrt()  # type: ignore[arg-type]
    shift = (torch.zeros_like(mean) if bias is None else bias) - mean * factor
    ones = [1] * (len(node.meta["val"].shape) - 2)
    builder.add(node, ops.Scale(factor.reshape(-1, *ones), shift.reshape(-1, *ones)), _node(node.args[0]))


@_converts(aten.dropout.default, aten.contiguous.default, aten.clone.default, aten.detach.default, aten.alias.default)
def _identity(builder: _Builder, node: torch.fx.Node) -> None:
    if node.target is aten.dropout.default and node.args[2]:
        raise UnsupportedLayerError(_unsupported(node, "dropout in train mode"))
    builder.skip(node)


@_converts(aten.add.Tensor, aten.add_.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor, aten.rsub.Scalar)
def _arithmetic(builder: _Builder, node: torch.fx.Node) -> None:
    left, right = node.args[:2]
    kind = node.target
    if node.kwargs:
        raise UnsupportedLayerError(_unsupported(node, f"with {dict(node.kwargs)}"))
    if left in builder.position and right in builder.position:
        if kind not in (aten.add.Tensor, aten.add_.Tensor):
            raise UnsupportedLayerError(_unsupported(node, "of two computed values"))
        builder.add(node, ops.Add(), _node(left), _node(right))
        return
    variable, constant = (left, builder.value(right)) if left in builder.position else (right, builder.value(left))
    one, zero = torch.ones_like(constant), torch.zeros_like(constant)
    if kind in (aten.add.Tensor, aten.add_.Tensor):
        weight, bias = one, constant
    elif kind is aten.sub.Tensor:
        weight, bias = (one, -constant) if variable is left else (-one, constant)
    elif kind is aten.rsub.Scalar:
        weight, bias = -one, constant
    elif kind is aten.mul.Tensor:
        weight, bias = constant, zero
    elif variable is left:
        weight, bias = 1 / constant, zero
    else:
        raise UnsupportedLayerError(_unsupported(node, "by a computed value"))
    shape = tuple(int(size) for size in node.meta["val"].shape[1:])
    builder.add(node, ops.Scale(*(_per_sample(t, shape, node) for t in (weight, bias))), _node(variable))


def _per_sample(constant: Tensor, shape: tuple[int, ...], node: torch.fx.Node) -> Tensor:
    """A constant without its batch dimension, with as many dimensions as one sample."""
    if constant.dim() > len(shape):
        if constant.shape[0] != 1:
            raise UnsupportedLayerError(_unsupported(node, "with a constant that depends on the place in the batch"))
        constant = constant[0]
    return constant.reshape(*([1] * (len(shape) - constant.dim())), *constant.shape)


def _arguments(node: torch.fx.Node, start: int, defaults: tuple[Any, ...]) -> list[Any]:
    given = list(node.args[start:])
    return given + list(defaults[len(given) :])


def _bias(builder: _Builder, node: torch.fx.Node, size: int) -> Tensor:
    bias = node.args[2] if len(node.args) > 2 else None
    weight = builder.constant[_node(node.args[1])]
    return weight.new_zeros(size) if bias is None else builder.constant[_node(bias)]


def _named_padding(node: torch.fx.Node, name: str, weight: Tensor, dilation: tuple[int, int]) -> tuple[int, int]:
    if name == "valid":
        return (0, 0)
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    if any(r % 2 for r in reach):
        raise UnsupportedLayerError(_unsupported(node, "padding='same' with an even kernel, which pads unevenly"))
    return (reach[0] // 2, reach[1] // 2)


def _pair(value: Any) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])


def _node(argument: Any) -> torch.fx.Node:
    if not isinstance(argument, torch.fx.Node):
        raise ModelError(f"model: expected a computed value, found {argument!r}")
    return argument


def _layer(node: torch.fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values() if path]
    return paths[-1] if paths else node.name


def _unsupported(node: torch.fx.Node, detail: str = "") -> str:
    operands = ", ".join(f"{a.name}{list(a.meta['val'].shape)}" for a in node.all_input_nodes if "val" in a.meta)
    known = sorted({str(target).removeprefix("aten.").split(".")[0] for target in _CONVERTERS})
    what = f"{node.target} {detail}".strip()
    return f"layer {_layer(node)!r}: {what} of {operands} is not supported; supported: {', '.join(known)}"
