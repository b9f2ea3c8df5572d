"""A network for the checker: affine layers, maxima and smooth functions, read from a graph's records by their names."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from calipers.check.layers import Array, Convolution, Join, Layer, Linear, Move, Scale, Shape, Sum
from calipers.check.rounding import SINGLE, SMOOTH


@dataclass(frozen=True, eq=False)
class Maximum:
    """The largest of a few entries of a value, and of `floor` where there is one.

    entry: (candidates, outputs) flat indices, -1 where a window has none.
    """

    entry: Array
    floor: float | None


@dataclass(frozen=True, eq=False)
class Smooth:
    """Sigmoid, tanh or softplus of every entry. softplus: log(1 + exp(beta x)) / beta, and x beyond the threshold."""

    function: str
    beta: float = 1.0
    threshold: float = 50.0

    def deployed(self, largest: Array) -> Array:
        """How far a library's function in single precision may be from the exact one, for values of these sizes."""
        if self.function != "Softplus":
            return np.full_like(largest, SMOOTH * SINGLE)
        jump = np.log1p(np.exp(-self.threshold)) / self.beta
        return SMOOTH * SINGLE * (largest + 1 / self.beta) + jump


@dataclass(frozen=True, eq=False)
class Node:
    """A layer in its place. inputs: positions of earlier nodes; the first node, the input itself, has none."""

    layer: Layer | Maximum | Smooth | None
    inputs: tuple[int, ...]
    shape: Shape


@runtime_checkable
class _Read(Protocol):
    """A node of a graph, as far as it is read."""

    @property
    def op(self) -> Any: ...

    @property
    def inputs(self) -> tuple[int, ...]: ...

    @property
    def shape(self) -> Shape: ...


@dataclass(frozen=True, eq=False)
class Network:
    """Nodes in topological order; a ReLU that only maxpools follow is part of them.

    softmax: the network that is deployed ends in a softmax, which claims do not speak of but for its outputs' order.
    """

    nodes: tuple[Node, ...]
    softmax: bool = False

    @classmethod
    def of(cls, nodes: Sequence[_Read], *, softmax: bool = False) -> "Network":
        """From the nodes of a graph. Raises ValueError for an operation that the checker does not know."""
        read = [Node(_layer(n, [nodes[i].shape for i in n.inputs]), tuple(n.inputs), tuple(n.shape)) for n in nodes]
        return cls(tuple(_fused(read)), softmax)

    @property
    def digest(self) -> str:
        """SHA-256 of every number and setting."""
        seen = hashlib.sha256(b"softmax" if self.softmax else b"")
        for node in self.nodes:
            seen.update(repr((type(node.layer).__name__, node.inputs, node.shape)).encode())
            for name, value in vars(node.layer).items() if node.layer is not None else ():
                seen.update(name.encode())
                array = isinstance(value, np.ndarray)
                seen.update(repr((value.shape, value.dtype.str) if array else value).encode())
                seen.update(value.tobytes() if array else b"")
        return seen.hexdigest()

    def evaluate(self, x: Array) -> Array:
        """The output at a batch of inputs, rounded as numpy rounds."""
        values: list[Array] = []
        for node in self.nodes:
            given = [values[i] for i in node.inputs]
            match node.layer:
                case None:
                    values.append(x)
                case Maximum() as maximum:
                    values.append(candidates(maximum, given[0]).max(1).reshape(len(x), *node.shape))
                case Smooth() as smooth:
                    values.append(apply(smooth, given[0]))
                case layer:
                    values.append(layer.forward(*given))
        return values[-1]


def candidates(maximum: Maximum, values: Array) -> Array:
    """(batch, candidates, outputs): what each output chooses from, -inf where there is nothing; the floor is last."""
    flat = values.reshape(len(values), -1)
    laid = np.where(maximum.entry < 0, -np.inf, flat[:, np.maximum(maximum.entry, 0)])
    if maximum.floor is None:
        return laid
    return np.concatenate([laid, np.full_like(laid[:, :1], maximum.floor)], axis=1)


def apply(smooth: Smooth, z: Array) -> Array:
    """The function at z."""
    decay = np.exp(-np.abs(z))
    if smooth.function == "Sigmoid":
        return np.where(z >= 0, 1 / (1 + decay), decay / (1 + decay))
    if smooth.function == "Tanh":
        return np.tanh(z)
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(smooth.beta * z))) / smooth.beta


def _layer(node: _Read, shapes: list[Shape]) -> Layer | Maximum | Smooth | None:
    op = node.op
    match type(op).__name__:
        case "Input":
            return None
        case "Linear":
            return Linear(_number(op.weight), _number(op.bias))
        case "Conv2d":
            settings = (tuple(op.stride), tuple(op.padding), tuple(op.dilation), op.groups)
            return Convolution(_number(op.weight), _number(op.bias), *settings)
        case "ConvTranspose2d":
            settings = (tuple(op.stride), tuple(op.padding), tuple(op.dilation), op.groups)
            size = (node.shape[1], node.shape[2])
            return Convolution(_number(op.weight), _number(op.bias), *settings, transposed=True, size=size)
        case "ExactRows":
            return Linear(_number(op.exact_weight), _number(op.exact_bias), asked=True, softmax=bool(op.softmax))
        case "Scale":
            return _scale(_number(op.weight), _number(op.bias), node.shape, 3)
        case "Divide":
            divisor = _number(op.divisor)
            return _scale(1 / divisor, np.zeros_like(divisor), node.shape, 3)
        case "BatchNorm":
            return _batch_norm(op, node.shape)
        case "Reshape":
            return Move(np.arange(math.prod(node.shape)).reshape(node.shape))
        case "Gather":
            return Move(np.asarray(op.index))
        case "Pad":
            return Move(_moved(shapes[0], op.before, op.after), float(op.value))
        case "Concat":
            return Join(op.dim)
        case "Add":
            return Sum()
        case "Relu":
            return Maximum(np.arange(math.prod(node.shape))[None], 0.0)
        case "MaxPool2d":
            return Maximum(_windows(op, shapes[0], node.shape), op.floor)
        case "Sigmoid" | "Tanh" as name:
            return Smooth(name)
        case "Softplus":
            return Smooth("Softplus", float(op.beta), float(op.threshold))
        case name:
            raise ValueError(f"checker: does not know the operation {name}")


def _scale(weight: Array, bias: Array, shape: Shape, roundings: int) -> Scale:
    weight, bias = (np.broadcast_to(array, (1, *shape))[0] for array in (weight, bias))
    return Scale(weight, bias, np.abs(bias), roundings)


def _batch_norm(op: Any, shape: Shape) -> Scale:
    """Twelve roundings cover both ways that libraries take: with factors worked out before, and without."""
    gain, shift, mean, variance = (_number(t) for t in (op.gain, op.shift, op.mean, op.variance))
    factor = gain / np.sqrt(variance + op.epsilon)
    laid = [a.reshape(-1, *([1] * (len(shape) - 1))) for a in (factor, shift - mean * factor, np.abs(mean * factor))]
    weight, bias, moved = (np.broadcast_to(array, shape) for array in laid)
    size = np.abs(shift.reshape(-1, *([1] * (len(shape) - 1)))) + moved
    return Scale(weight, bias, size, 12)


def _number(tensor: Any) -> Array:
    return np.asarray(tensor, dtype=np.float64)


def _moved(shape: Shape, before: Sequence[int], after: Sequence[int]) -> Array:
    """Entry numbers, padded with -1; negative amounts crop."""
    index = np.arange(math.prod(shape)).reshape(shape)
    index = np.pad(index, [(max(b, 0), max(a, 0)) for b, a in zip(before, after, strict=True)], constant_values=-1)
    ends = zip(index.shape, before, after, strict=True)
    return index[tuple(slice(max(-b, 0), size - max(-a, 0)) for size, b, a in ends)]


def _windows(op: Any, shape: Shape, out: Shape) -> Array:
    """(pixels, outputs): which entry a pixel of a window is, -1 in the padding."""
    channel, row, column = np.meshgrid(*(np.arange(n) for n in out), indexing="ij")
    places = []
    for dy in range(op.kernel[0]):
        for dx in range(op.kernel[1]):
            y = row * op.stride[0] - op.padding[0] + dy * op.dilation[0]
            x = column * op.stride[1] - op.padding[1] + dx * op.dilation[1]
            inside = (y >= 0) & (y < shape[1]) & (x >= 0) & (x < shape[2])
            places.append(np.where(inside, (channel * shape[1] + y) * shape[2] + x, -1).ravel())
    return np.stack(places)


def _fused(nodes: list[Node]) -> list[Node]:
    """max(0, .) in front of a maximum of several entries becomes its floor, where nothing else uses it."""
    pools = {i for i, n in enumerate(nodes) if isinstance(n.layer, Maximum) and n.layer.floor is None}
    relus = {i for i, n in enumerate(nodes) if isinstance(n.layer, Maximum) and i not in pools}
    users: dict[int, list[int]] = {}
    for position, node in enumerate(nodes):
        for source in node.inputs:
            users.setdefault(source, []).append(position)
    gone = {i for i in relus if users.get(i) and set(users[i]) <= pools}
    place: dict[int, int] = {}
    kept: list[Node] = []
    for position, node in enumerate(nodes):
        if position in gone:
            place[position] = place[node.inputs[0]]
            continue
        layer = node.layer
        if isinstance(layer, Maximum) and node.inputs[0] in gone:
            layer = Maximum(layer.entry, max(0.0, layer.floor or 0.0))
        kept.append(Node(layer, tuple(place[i] for i in node.inputs), node.shape))
        place[position] = len(kept) - 1
    return kept
