"""The walk over an ONNX graph, with a table of converters that the operators' files fill."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from calipers.core.errors import ModelError, UnsupportedLayerError
from calipers.graph.assembly import Assembly, Position, Refusal
from calipers.graph.graph import Graph
from calipers.graph.onnx_file import constants_of, dense, open_session
from calipers.graph.onnx_reading import Reading

# Types of inputs: double precision only where every constant is one of single precision.
REALS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)


class Whole(NamedTuple):
    """The position of a value as the model has it, which has no batch in front."""

    position: Position


Converter = Callable[["OnnxWalk", onnx.NodeProto], Position | Whole | list[Position] | list[Position | Whole]]
CONVERTERS: dict[str, Converter] = {}

# Operators of entries, which broadcast and do not look at dimensions.
ENTRYWISE = {
    *("Abs", "Add", "Cast", "CastLike", "Clip", "Div", "Dropout", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid"),
    *("HardSwish", "Identity", "LeakyRelu", "Log", "Max", "Mean", "Min", "Mul", "Neg", "PRelu", "Pow", "Reciprocal"),
    *("Relu", "Selu", "Sigmoid", "Softplus", "Sqrt", "Sub", "Sum", "Tanh", "Where"),
}
# Operators that leave all entries in their order.
_RESHAPING = {"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}
# Attributes that hold the value of a Constant.
_NUMBERS = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}


def converts(*kinds: str) -> Callable[[Converter], Converter]:
    """Enter a converter for operators: it appends nodes and returns the position of the operator's value."""

    def register(converter: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(kinds, converter))
        return converter

    return register


class OnnxWalk:
    """Walks one ONNX graph; thrown away afterwards.

    constant: arrays that do not depend on the input, among them shapes, worked out for `batch` samples. position: of
    computed values, without the batch that is their first dimension. whole: names of those that have no batch in
    front, as is possible for a batch of one. done: how many operators are behind.
    """

    def __init__(self, model: onnx.ModelProto, reading: Reading) -> None:
        self.model = model
        self.opset = {item.domain.removeprefix("ai.onnx"): item.version for item in model.opset_import}
        self.constant = constants_of(model)
        (given,) = (item for item in model.graph.input if item.name not in self.constant)
        kind = given.type.tensor_type.elem_type
        if kind not in REALS:
            raise ModelError(
                f"model: its input is of type {onnx.TensorProto.DataType.Name(kind)}; accepted: FLOAT, or DOUBLE where "
                "every constant is one of single precision"
            )
        self.batch = reading.batch
        self.asm = Assembly(given.name, reading.shape)
        self.position: dict[str, Position] = {given.name: 0}
        self.whole = set() if reading.batched else {given.name}
        self.done = 0

    def graph(self) -> Graph:
        """Raises UnsupportedLayerError for an operator or attribute without counterpart."""
        nodes, output = _until_softmax(list(self.model.graph.node), self.model.graph.output[0].name)
        self._nodes(nodes)
        if output not in self.position:
            raise ModelError(f"model: its output {output!r} does not depend on its input")
        position = self.position[output]
        shape = self.asm.shape(position)
        if not shape or (output in self.whole and len(shape) != 1):
            size = int(torch.Size(shape).numel())
            position = self.asm.rearrange(output, position, lambda v: v.reshape(len(v), size))
        return self.asm.graph(position)

    def full(self, name: str) -> tuple[int, ...]:
        """The shape that a computed value has in the model."""
        shape = self.asm.shape(self.position[name])
        return shape if name in self.whole else (self.batch, *shape)

    def _nodes(self, nodes: Iterable[onnx.NodeProto]) -> None:
        for node in nodes:
            try:
                self._node(node)
            except Refusal as refusal:
                raise UnsupportedLayerError(_unsupported(node, str(refusal))) from refusal
            except (RuntimeError, ValueError, IndexError, TypeError) as error:  # of shapes that do not fit each other
                raise UnsupportedLayerError(_unsupported(node, f"(which fails: {error})")) from error
            self.done += 1

    def _node(self, node: onnx.NodeProto) -> None:
        if node.domain not in ("", "ai.onnx"):
            raise Refusal(f"of the domain {node.domain!r}")
        if node.op_type == "Constant":
            self.constant[node.output[0]] = _constant(node)
        elif node.op_type in ("Shape", "Size") and node.input[0] in self.position:
            zeros = np.zeros(self.full(node.input[0]), np.float32)
            self.constant[node.output[0]] = self.run(node, {node.input[0]: zeros})[0]
        elif node.op_type == "If" and node.input[0] in self.constant:
            self._branch(node)
        elif all(name in self.constant for name in node.input if name):
            if node.op_type.startswith("Random"):
                raise Refusal("whose result is random")
            self.constant.update(zip(node.output, self._folded(node), strict=True))
        elif node.op_type in CONVERTERS:
            self._convert(node)
        else:
            raise Refusal

    def _branch(self, node: onnx.NodeProto) -> None:
        """A choice that does not depend on the input: the operators of the branch that is taken."""
        taken = "then_branch" if bool(self.constant[node.input[0]]) else "else_branch"
        branch = next(item.g for item in node.attribute if item.name == taken)
        self.constant |= {item.name: numpy_helper.to_array(item) for item in branch.initializer}
        self._nodes(branch.node)
        for inner, name in zip(branch.output, node.output, strict=True):
            self._alias(inner.name, name)

    def _alias(self, old: str, new: str) -> None:
        if old in self.constant:
            self.constant[new] = self.constant[old]
        else:
            self.position[new] = self.position[old]
            self.whole |= {new} if old in self.whole else set()

    def _convert(self, node: onnx.NodeProto) -> None:
        if node.op_type in ENTRYWISE:
            aligned, whole = self._aligned(node)
            numbers = all(self.asm.shape(self.position[name]) == () for name in aligned.input if name in self.position)
            found = CONVERTERS[node.op_type](self, self._reshaped(aligned, (1,)) if numbers else aligned)
        else:
            whole, numbers = False, False
            found = CONVERTERS[node.op_type](self, node)
        for name, value in zip(node.output, found if isinstance(found, list) else [found], strict=False):
            # Dropout's mask stays unknown.
            position = value.position if isinstance(value, Whole) else value
            self.position[name] = (
                self.asm.rearrange(name, position, lambda v: v.reshape(len(v))) if numbers else position
            )
            if whole or isinstance(value, Whole):
                self.whole.add(name)

    def _reshaped(self, node: onnx.NodeProto, shape: tuple[int, ...]) -> onnx.NodeProto:
        """The operator with computed operands of that shape."""
        renamed = {}
        for name in node.input:
            if name in self.position:
                renamed[name] = f"{name} as {shape}"
                self.position[renamed[name]] = self.asm.rearrange(
                    name, self.position[name], lambda v: v.reshape(len(v), *shape)
                )
        return _renamed(node, renamed)

    def _aligned(self, node: onnx.NodeProto) -> tuple[onnx.NodeProto, bool]:
        """An operator of entries, its operands such that none is broadcast along the batch; and whether they have none.

        Raises Refusal if samples mix.
        """
        computed = [name for name in node.input if name in self.position]
        constants = [name for name in node.input if name in self.constant]
        shapes = {n: self.full(n) if n in self.position else self.constant[n].shape for n in node.input if n}
        rank = max(map(len, shapes.values()))
        ranks = {len(shapes[name]) for name in computed}
        if self.batch > 1:
            if len(ranks) > 1 or rank > min(ranks):
                raise Refusal("of values with different numbers of dimensions, which mix samples of the batch")
            renamed = {name: self._one_sample(name) for name in constants if len(shapes[name]) == rank and rank}
            return _renamed(node, renamed), False
        fits = all(len(shapes[name]) < rank or shapes[name][:1] == (1,) for name in constants)
        if ranks == {rank} and fits and not self.whole.intersection(computed):
            return node, False
        renamed = {}
        for name in computed:
            renamed[name] = f"{name} with {rank} dimensions"
            position = self.as_whole(name)
            shape = (*[1] * (rank - len(shapes[name])), *shapes[name])
            self.position[renamed[name]] = self.asm.rearrange(name, position, lambda v, s=shape: v.reshape(len(v), *s))  # type: ignore[misc]
        return _renamed(node, renamed), True

    def _one_sample(self, name: str) -> str:
        """A constant that is the same for every sample of the batch, for one sample."""
        value = self.constant[name]
        if len(value) == self.batch and (value == value[:1]).all():
            self.constant[f"{name} of a sample"] = value[:1]
            return f"{name} of a sample"
        return name

    def _folded(self, node: onnx.NodeProto) -> list[np.ndarray]:
        """The results of an operator on constants, reals as onnxruntime rounds them. Raises Refusal if it fails."""
        feeds = {name: self.constant[name] for name in node.input if name}
        try:
            found = open_session(self.alone(node, feeds)).run(None, feeds)
        except Exception:  # onnxruntime lacks some types of integers; its errors share no other base
            return self.run(node, {})
        return [np.asarray(value) for value in found]

    def run(self, node: onnx.NodeProto, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The results of one operator by ONNX's reference implementation. Raises Refusal if it has none."""
        feeds = {name: given[name] if name in given else self.constant[name] for name in node.input if name}
        try:
            return [np.asarray(value) for value in ReferenceEvaluator(self.alone(node, feeds)).run(None, feeds)]
        except Exception as error:  # the reference implementation raises whatever numpy does
            raise Refusal(f"that fails for {self.batch} samples ({error})") from error

    def alone(self, node: onnx.NodeProto, feeds: dict[str, np.ndarray]) -> onnx.ModelProto:
        """A model of one operator, of the opset of this one: by itself it would be taken for one of the newest."""
        known = [onnx.helper.make_tensor_value_info(name, _kind(value), value.shape) for name, value in feeds.items()]
        made = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "alone", known, made)
        return onnx.helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)

    def rearrange(
        self, node: onnx.NodeProto, run: Callable[[np.ndarray], list[np.ndarray]] | None = None
    ) -> list[Position | Whole]:
        """An operator that only moves, drops or repeats entries, carried out on the numbers of the entries.

        run: carries it out, by default ONNX's reference implementation.
        """
        source, *others = node.input
        if any(name in self.position for name in others):
            raise Refusal("with places computed from the input")
        position, full = self._known(source), self.full(source)
        name = self.name(node)
        if self.asm.shape(position) == ():
            position = self.asm.rearrange(name, position, lambda v: v.reshape(len(v), 1))
        size = int(torch.Size(full).numel())
        entries = np.arange(size, dtype=np.int64).reshape(full)
        carried = self.run(node, {source: entries}) if run is None else run(entries)
        moved = [torch.from_numpy(np.ascontiguousarray(part)) for part in carried]
        if self.batch > 1:
            return [self.asm.rearrange(name, position, lambda _, m=m: m, self.batch) for m in moved]  # type: ignore[misc]
        found: list[Position | Whole] = []
        for part in moved:
            batched = part.dim() > 1 and len(part) == 1
            one = part if batched else part[None]
            place = self.asm.rearrange(name, position, lambda _, m=one: m, 1)  # type: ignore[misc]
            found.append(place if batched else Whole(place))
        return found

    def input(self, name: str) -> Position:
        """The position of a computed operand, a batch in front. Raises Refusal if it has none."""
        position = self._known(name)
        if name not in self.whole:
            return position
        first, *rest = self.asm.shape(position) or (0,)
        if first != 1 or not rest:
            raise Refusal(f"of a value of shape {self.asm.shape(position)}, whose first dimension is no batch of one,")
        return self.asm.rearrange(name, position, lambda v: v.reshape(len(v), *rest))

    def as_whole(self, name: str) -> Position:
        """The position of a computed operand as the model has it. Raises Refusal unless the batch is one."""
        position = self._known(name)
        if name in self.whole:
            return position
        if self.batch > 1:
            raise Refusal("that mixes or drops samples of the batch")
        shape = self.asm.shape(position)
        return self.asm.rearrange(name, position, lambda v: v.reshape(len(v), 1, *shape))

    def _known(self, name: str) -> Position:
        if name not in self.position:
            raise Refusal(f"with {name!r}, which is not computed from the input,")
        return self.position[name]

    def value(self, name: str) -> Tensor:
        """A constant operand, reals in single precision.

        Raises Refusal if it is computed, ModelError if it is a real that single precision does not hold.
        """
        if name not in self.constant:
            raise Refusal(f"with {name!r} computed from the input")
        value = np.asarray(self.constant[name])
        if value.dtype.kind == "f" and np.isnan(value).any():
            raise ModelError(f"model: the constant {name!r} holds NaN, which is no number")
        if value.dtype != np.float64:
            return torch.from_numpy(np.array(value))
        single = value.astype(np.float32)
        differs = single != value
        if differs.any():
            raise ModelError(
                f"model: the constant {name!r} of type DOUBLE holds {float(value[differs].flat[0])!r}, which single "
                "precision does not; accepted: a model in single precision (torch: model.float() before the export)"
            )
        return torch.from_numpy(np.array(single))

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


def _until_softmax(nodes: list[onnx.NodeProto], output: str) -> tuple[list[onnx.NodeProto], str]:
    """Operators and output without what only gives another shape to a softmax at the end, which must be the last."""
    maker = {name: node for node in nodes for name in node.output}
    name, after = output, []
    while name in maker and maker[name].op_type in _RESHAPING:
        after.append(maker[name])
        name = maker[name].input[0]
    if not after or name not in maker or maker[name].op_type not in ("Softmax", "LogSoftmax"):
        return nodes, output
    return [node for node in nodes if not any(node is one for one in after)], name


def _constant(node: onnx.NodeProto) -> np.ndarray:
    """The value of a Constant. Raises Refusal for text."""
    (attribute,) = node.attribute
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return numpy_helper.to_array(value)
    if attribute.name == "sparse_value":
        return dense(value)
    require(attribute.name in _NUMBERS, attribute.name)
    return np.array(value, _NUMBERS[attribute.name])


def _renamed(node: onnx.NodeProto, names: dict[str, str]) -> onnx.NodeProto:
    """The operator with other operands."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [names.get(name, name) for name in node.input]
    return copy


def _kind(value: np.ndarray) -> int:
    return onnx.helper.np_dtype_to_tensor_dtype(value.dtype)


def _unsupported(node: onnx.NodeProto, detail: str = "") -> str:
    what = f"{node.op_type} {detail}".strip()
    return (
        f"layer {node.name or node.output[0]!r}: {what} of {', '.join(node.input)} is not supported; "
        f"supported: {', '.join(sorted(CONVERTERS))}"
    )
