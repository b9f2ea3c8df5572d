"""Converters of ONNX's tensor operations: rearrangements, joins and arithmetic."""

from functools import partial, reduce

import onnx
import torch
from torch import Tensor

from calipers.graph import compose, ops
from calipers.graph.assembly import Position, Refusal
from calipers.graph.onnx_walk import Walk, attributes, converts, require


@converts(
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
)
def _rearrange(walk: Walk, node: onnx.NodeProto) -> list[Position]:
    return walk.rearrange(node)


@converts("Resize", "Upsample")
def _resize(walk: Walk, node: onnx.NodeProto) -> list[Position]:
    mode = next((a.s for a in node.attribute if a.name == "mode"), b"nearest")
    require(mode == b"nearest", f"mode={mode!r}")  # which repeats entries; other modes average them
    return walk.rearrange(node)


@converts("Identity", "Dropout")
def _identity(walk: Walk, node: onnx.NodeProto) -> Position:
    attributes(node, ratio=0.5, seed=0)
    training = walk.optional(node, 2)
    require(training is None or not bool(training), "in training mode")
    return walk.input(node.input[0])


@converts("Cast")
def _cast(walk: Walk, node: onnx.NodeProto) -> Position:
    to = attributes(node, to=None, saturate=1)["to"]
    require(to == onnx.TensorProto.FLOAT, f"to {onnx.TensorProto.DataType.Name(to)}")
    return walk.input(node.input[0])


@converts("Concat")
def _concat(walk: Walk, node: onnx.NodeProto) -> Position:
    positions = [walk.input(name) for name in node.input]
    axis = attributes(node, axis=None)["axis"] % (len(walk.asm.shape(positions[0])) + 1)
    require(axis != 0, "along the batch dimension")
    return walk.asm.add(walk.name(node), ops.Concat(axis - 1), *positions)


@converts("Pad")
def _pad(walk: Walk, node: onnx.NodeProto) -> Position | list[Position]:
    a = attributes(node, mode=b"constant", pads=None, value=0.0)
    if a["mode"] != b"constant":
        return walk.rearrange(node)  # reflections and repetitions of the border
    x = walk.input(node.input[0])
    rank = len(walk.asm.shape(x)) + 1
    listed = walk.optional(node, 1)
    value, axes = walk.optional(node, 2), walk.optional(node, 3)
    pads = [int(v) for v in (a["pads"] if listed is None else listed)]
    half = len(pads) // 2
    places = range(rank) if axes is None else [int(v) % rank for v in axes]
    before, after = [0] * rank, [0] * rank
    for i, place in enumerate(places):
        before[place], after[place] = pads[i], pads[half + i]
    require(before[0] == after[0] == 0, "of the batch dimension")
    fill = a["value"] if value is None else float(value)
    return walk.asm.add(walk.name(node), ops.Pad(tuple(before[1:]), tuple(after[1:]), fill), x)


@converts("ReduceMean", "ReduceSum")
def _reduce(walk: Walk, node: onnx.NodeProto) -> Position:
    a = attributes(node, axes=None, keepdims=1, noop_with_empty_axes=0)
    given = walk.optional(node, 1)
    axes = a["axes"] if given is None else [int(v) for v in given]
    require(bool(axes), "over all dimensions")
    mean = node.op_type == "ReduceMean"
    x = walk.input(node.input[0])
    return compose.reduce(walk.asm, walk.name(node), x, axes, bool(a["keepdims"]), mean)


@converts("Max", "Min")
def _extreme(walk: Walk, node: onnx.NodeProto) -> Position:
    attributes(node)
    largest = node.op_type == "Max"
    name, asm = walk.name(node), walk.asm
    computed = [walk.input(i) for i in node.input if i in walk.position]
    found = reduce(partial(compose.maximum if largest else compose.minimum, asm, name), computed)
    for i in node.input:
        if i not in walk.position:
            bound = _per_sample(walk.value(i), asm.shape(found))
            found = compose.clamp(asm, name, found, bound if largest else None, None if largest else bound)
    return found


@converts("Clip")
def _clip(walk: Walk, node: onnx.NodeProto) -> Position:
    a = attributes(node, min=None, max=None)
    low, high = (
        given if given is not None or a[key] is None else torch.tensor(float(a[key]))
        for key, given in (("min", walk.optional(node, 1)), ("max", walk.optional(node, 2)))
    )
    return compose.clamp(walk.asm, walk.name(node), walk.input(node.input[0]), low, high)


@converts("Abs")
def _absolute(walk: Walk, node: onnx.NodeProto) -> Position:
    attributes(node)
    return walk.asm.add(walk.name(node), ops.Absolute(), walk.input(node.input[0]))


@converts("Neg")
def _negate(walk: Walk, node: onnx.NodeProto) -> Position:
    attributes(node)
    return compose.negate(walk.asm, walk.name(node), walk.input(node.input[0]))


@converts("Sum")
def _sum(walk: Walk, node: onnx.NodeProto) -> Position:
    attributes(node)
    return reduce(partial(compose.add, walk.asm, walk.name(node)), [walk.input(name) for name in node.input])


@converts("Add", "Sub", "Mul", "Div")
def _arithmetic(walk: Walk, node: onnx.NodeProto) -> Position:
    attributes(node)
    left, right = node.input
    name, asm, kind = walk.name(node), walk.asm, node.op_type
    if left in walk.position and right in walk.position:
        require(kind in ("Add", "Sub"), "of two computed values")
        return (compose.add if kind == "Add" else compose.subtract)(asm, name, walk.input(left), walk.input(right))
    first = left in walk.position
    x = walk.input(left if first else right)
    constant = _per_sample(walk.value(right if first else left), asm.shape(x))
    one, zero = torch.tensor(1.0), torch.tensor(0.0)
    require(kind != "Div" or first, "by a computed value")
    if kind == "Div":
        return compose.divide(asm, name, x, constant)
    weight, bias = {
        "Add": (one, constant),
        "Sub": (one, -constant) if first else (-one, constant),
        "Mul": (constant, zero),
    }[kind]
    return compose.scale(asm, name, x, weight, bias)


def _per_sample(constant: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A constant without its batch dimension."""
    if constant.dim() <= len(shape):
        return constant
    if constant.dim() > len(shape) + 1 or constant.shape[0] != 1:
        raise Refusal(f"with a constant of shape {tuple(constant.shape)}, which fits no sample of shape {shape},")
    return constant[0]
