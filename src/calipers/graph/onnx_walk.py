"""The walk over an ONNX graph, with a table of converters that the operators' files fill."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from calipers.core.errors import ModelError, UnsupportedLayerError
from calipers.graph.assembly import Assembly, Position, Refusal
from calipers.graph.graph import Graph

Converter = Callable[["Walk", onnx.NodeProto], Position | list[Position]]
CONVERTERS: dict[str, Converter] = {}


def converts(*kinds: str) -> Callable[[Converter], Converter]:
    """Enter a converter for operators: it appends nodes and returns the position of the operator's value."""

    def register(converter: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(kinds, converter))
        return converter

    return register


class Walk:
    """Walks one ONNX graph; thrown away afterwards.

    position: of computed values. constant: arrays that do not depend on the input, among them shapes, worked out for
    `batch` samples: as many as the model fixes, else two.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.opset = {item.domain: item.version for item in model.opset_import}
        self.constant = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
        inputs = [item for item in model.graph.input if item.name not in self.constant]
        if len(inputs) != 1 or len(model.graph.output) != 1:
            raise ModelError(
                f"model: {len(inputs)} inputs and {len(model.graph.output)} outputs; accepted: one of each"
            )
        kind = inputs[0].type.tensor_type.elem_type
        if kind != onnx.TensorProto.FLOAT:
            raise ModelError(f"model: its input is of type {onnx.TensorProto.DataType.Name(kind)}; accepted: FLOAT")
        sizes = tuple(dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim)
        # A vector is one sample without a batch dimension; a batch of one serves, where no operator counts dimensions.
        batch, *shape = (1, *sizes) if len(sizes) == 1 else sizes or (0,)
        if not shape or not all(shape):
            raise ModelError(f"model: input shape {sizes} has free dimensions; only the batch dimension may be free")
        self.batch = batch or 2
        self.asm = Assembly(inputs[0].name, tuple(shape))
        self.position: dict[str, Position] = {inputs[0].name: 0}

    def graph(self) -> Graph:
        """Raises UnsupportedLayerError for an operator or attribute without counterpart."""
        for node in self.model.graph.node:
            try:
                self._node(node)
            except Refusal as refusal:
                raise UnsupportedLayerError(_unsupported(node, str(refusal))) from refusal
        output = self.model.graph.output[0].name
        if output not in self.position:
            raise ModelError(f"model: its output {output!r} does not depend on its input")
        return self.asm.graph(self.position[output])

    def _node(self, node: onnx.NodeProto) -> None:
        if node.domain not in ("", "ai.onnx"):
            raise Refusal(f"of the domain {node.domain!r}")
        if node.op_type == "Shape" and node.input[0] in self.position:
            shape = (self.batch, *self.asm.shape(self.position[node.input[0]]))
            self.constant[node.output[0]] = self.run(node, {node.input[0]: np.zeros(shape, np.float32)})[0]
        elif all(name in self.constant for name in node.input if name):
            if node.op_type.startswith("Random"):
                raise Refusal("whose result is random")
            self.constant.update(zip(node.output, self.run(node, {}), strict=True))
        elif node.op_type in CONVERTERS:
            found = CONVERTERS[node.op_type](self, node)
            positions = found if isinstance(found, list) else [found]
            self.position.update(zip(node.output, positions, strict=False))  # Dropout's mask stays unknown
        else:
            raise Refusal

    def run(self, node: onnx.NodeProto, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The results of one operator by ONNX's reference implementation. Raises Refusal if it has none."""
        feeds = {name: given[name] if name in given else self.constant[name] for name in node.input if name}
        known = [onnx.helper.make_tensor_value_info(name, _kind(value), value.shape) for name, value in feeds.items()]
        made = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        # A node on its own would be taken for one of the newest opset.
        alone = onnx.helper.make_model(
            onnx.helper.make_graph([node], "alone", known, made), opset_imports=self.model.opset_import
        )
        try:
            return list(ReferenceEvaluator(alone).run(None, feeds))
        except (ValueError, TypeError, IndexError, RuntimeError) as error:
            raise Refusal(f"that fails for {self.batch} samples ({error})") from error

    def rearrange(self, node: onnx.NodeProto) -> list[Position]:
        """An operator that only moves, drops or repeats entries, carried out on the numbers of the entries."""
        source, *others = node.input
        if any(name in self.position for name in others):
            raise Refusal("with places computed from the input")
        position = self.input(source)

        def run(entries: Tensor, part: int) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(self.run(node, {source: entries.numpy()})[part]))

        return [
            self.asm.rearrange(self.name(node), position, lambda e, i=i: run(e, i), self.batch)  # type: ignore[misc]
            for i in range(len(node.output))
        ]

    def input(self, name: str) -> Position:
        """The position of a computed operand."""
        if name not in self.position:
            raise Refusal(f"with {name!r}, which is not computed from the input,")
        return self.position[name]

    def value(self, name: str) -> Tensor:
        """A constant operand."""
        if name not in self.constant:
            raise Refusal(f"with {name!r} computed from the input")
        return torch.from_numpy(np.array(self.constant[name]))

    def optional(self, node: onnx.NodeProto, place: int) -> Tensor | None:
        """A constant operand that may be left out."""
        present = len(node.input) > place and node.input[place]
        return self.value(node.input[place]) if present else None

    def name(self, node: onnx.NodeProto) -> str:
        """The operator's name, or its output's."""
        return node.name or node.output[0]


def attributes(node: onnx.NodeProto, **defaults: Any) -> dict[str, Any]:
    """Attributes over their defaults. Raises Refusal for one that is not listed."""
    given = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise Refusal(f"attribute {unknown[0]}={given[unknown[0]]!r}")
    return {**defaults, **given}


def require(condition: bool, what: str) -> None:
    """Raise Refusal with a text unless a condition holds."""
    if not condition:
        raise Refusal(what)


def _kind(value: np.ndarray) -> int:
    return onnx.helper.np_dtype_to_tensor_dtype(value.dtype)


def _unsupported(node: onnx.NodeProto, detail: str = "") -> str:
    what = f"{node.op_type} {detail}".strip()
    return (
        f"layer {node.name or node.output[0]!r}: {what} of {', '.join(node.input)} is not supported; "
        f"supported: {', '.join(sorted(CONVERTERS))}"
    )
