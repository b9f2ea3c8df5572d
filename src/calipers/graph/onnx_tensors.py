"""Converters of ONNX's tensor operations: rearrangements, joins and arithmetic."""

import math
from functools import partial, reduce

import numpy as np
import onnx
import torch
from torch import Tensor

from calipers.graph import compose, ops
from calipers.graph.assembly import Position, Refusal
from calipers.graph.onnx_maps import Operator, linear_map, planar_map
from calipers.graph.onnx_pools import largest
from calipers.graph.onnx_walk import REALS, OnnxWalk, Whole, attributes, converts, require


@converts(
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "GatherND",
    "Reshape",
    "ReverseSequence",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
)
def _rearrange(walk: OnnxWalk, node: onnx.NodeProto) -> list[Position | Whole]:
    return walk.rearrange(node)


@converts("Resize", "Upsample")
def _resize(walk: OnnxWalk, node: onnx.NodeProto) -> Position | list[Position | Whole]:
    mode = next((a.s for a in node.attribute if a.name == "mode"), b"nearest")
    if mode == b"nearest":
        # It repeats entries, rounding places as onnxruntime does; single precision holds their numbers.
        operator = Operator(walk, node, node.input[0])
        require(math.prod(walk.full(node.input[0])) < 2**24, "of more than 2^24 entries")
        return walk.rearrange(node, lambda entries: [operator(entries.astype(np.float32)).astype(np.int64)])
    return planar_map(walk, node)  # other modes average them


@converts("CumSum", "Einsum", "Trilu")
def _linear(walk: OnnxWalk, node: onnx.NodeProto) -> Position | Whole:
    computed = [name for name in node.input if name in walk.position]
    require(len(computed) == 1, "of two computed values")
    return linear_map(walk, node, computed[0])


@converts("Identity", "Dropout")
def _identity(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    attributes(node, ratio=0.5, seed=0)
    training = walk.optional(node, 2)
    require(training is None or not bool(training), "in training mode")
    for mask in filter(None, node.output[1:]):
        walk.constant[mask] = np.ones(walk.full(node.input[0]), bool)  # nothing is dropped
    return walk.input(node.input[0])


@converts("Cast", "CastLike")
def _cast(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    if node.op_type == "Cast":
        to = attributes(node, to=None, saturate=1, round_mode=b"up")["to"]
    else:
        attributes(node, saturate=1, round_mode=b"up")
        like = node.input[1]
        # What is computed is real all the way; its precision is that of the model's input.
        to = (
            onnx.TensorProto.FLOAT
            if like in walk.position
            else onnx.helper.np_dtype_to_tensor_dtype(walk.constant[like].dtype)
        )
    require(to in REALS, f"to {onnx.TensorProto.DataType.Name(to)}, which rounds what is computed,")
    return walk.input(node.input[0])


@converts("Where")
def _where(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    """One of two values by a mask: times 1 or 0, and the sum, which rounds nothing."""
    attributes(node)
    asm, name = walk.asm, walk.name(node)
    computed = [walk.position[i] for i in node.input[1:] if i in walk.position]
    mask = _per_sample(walk.value(node.input[0]), asm.shape(computed[0])).to(torch.get_default_dtype())
    zero = torch.tensor(0.0)
    if len(computed) == 2:
        parts = [compose.scale(asm, name, x, m, zero) for x, m in zip(computed, (mask, 1 - mask), strict=True)]
        return compose.add(asm, name, *parts)
    first = node.input[1] in walk.position
    keep = mask if first else 1 - mask
    constant = _per_sample(walk.value(node.input[2 if first else 1]), asm.shape(computed[0]))
    return compose.scale(asm, name, computed[0], keep, torch.where(keep.bool(), zero, constant))


@converts("Concat")
def _concat(walk: OnnxWalk, node: onnx.NodeProto) -> Position | Whole:
    axis = attributes(node, axis=None)["axis"]
    computed = [name for name in node.input if name in walk.position]
    rank = len(walk.full(computed[0]))
    axis %= rank
    whole = axis == 0 or any(name in walk.whole for name in computed)
    require(not (whole and walk.batch > 1), "along the batch dimension")
    place = axis if whole else axis - 1
    ends = [walk.as_whole(name) if whole else walk.input(name) for name in node.input if name in walk.position]
    given = [
        (walk.value(name) if whole else one_sample(walk, name)) if name in walk.constant else None
        for name in node.input
    ]
    found = _joined(walk, walk.name(node), ends, given, place)
    return Whole(found) if whole else found


def _joined(walk: OnnxWalk, name: str, computed: list[Position], given: list[Tensor | None], dim: int) -> Position:
    """Computed values with constants (given; None stands for a computed one) along a dimension of a sample.

    Constants are made room for with zeros, and added: 0 + c and x + 0 round nothing.
    """
    asm = walk.asm
    left = list(computed)
    parts: list[tuple[Position, int, int]] = []  # with so many places of constants before and after
    before = 0
    for constant in given:
        if constant is None:
            parts.append((left.pop(0), before, 0))
            before = 0
        elif parts:
            position, start, end = parts[-1]
            parts[-1] = (position, start, end + constant.shape[dim])
        else:
            before += constant.shape[dim]
    padded = [_room(walk, name, position, dim, start, end) for position, start, end in parts]
    joined = padded[0] if len(padded) == 1 else asm.add(name, ops.Concat(dim), *padded)
    if all(constant is None for constant in given):
        return joined
    shapes = iter([asm.shape(position) for position in computed])
    bias = torch.cat([torch.zeros(next(shapes)) if c is None else c.to(torch.float32) for c in given], dim)
    return compose.scale(asm, name, joined, torch.tensor(1.0), bias)


def _room(walk: OnnxWalk, name: str, position: Position, dim: int, before: int, after: int) -> Position:
    if not before and not after:
        return position
    rank = len(walk.asm.shape(position))
    start, end = ([amount if d == dim else 0 for d in range(rank)] for amount in (before, after))
    return walk.asm.add(name, ops.Pad(tuple(start), tuple(end)), position)


@converts("Pad")
def _pad(walk: OnnxWalk, node: onnx.NodeProto) -> Position | Whole | list[Position | Whole]:
    a = attributes(node, mode=b"constant", pads=None, value=0.0)
    if a["mode"] != b"constant":
        return walk.rearrange(node)  # reflections and repetitions of the border
    source = node.input[0]
    rank = len(walk.full(source))
    listed = walk.optional(node, 1)
    value, axes = walk.optional(node, 2), walk.optional(node, 3)
    pads = [int(v) for v in (a["pads"] if listed is None else listed)]
    half = len(pads) // 2
    places = range(rank) if axes is None else [int(v) % rank for v in axes]
    before, after = [0] * rank, [0] * rank
    for i, place in enumerate(places):
        before[place], after[place] = pads[i], pads[half + i]
    whole = source in walk.whole or before[0] != 0 or after[0] != 0
    require(not (whole and walk.batch > 1), "of the batch dimension")
    x = walk.as_whole(source) if whole else walk.input(source)
    fill = a["value"] if value is None else float(value)
    start = 0 if whole else 1
    found = walk.asm.add(walk.name(node), ops.Pad(tuple(before[start:]), tuple(after[start:]), fill), x)
    return Whole(found) if whole else found


@converts("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")
def _reduce(walk: OnnxWalk, node: onnx.NodeProto) -> Position | Whole:
    a = attributes(node, axes=None, keepdims=1, noop_with_empty_axes=0)
    given = walk.optional(node, 1)
    axes = a["axes"] if given is None else [int(v) for v in given]
    source, name = node.input[0], walk.name(node)
    rank = len(walk.full(source))
    if not axes and a["noop_with_empty_axes"]:
        return Whole(walk.as_whole(source)) if source in walk.whole else walk.input(source)
    over = sorted({axis % rank for axis in axes}) if axes else list(range(rank))
    whole = source in walk.whole or 0 in over
    require(not (whole and walk.batch > 1), "over the batch dimension")
    x = walk.as_whole(source) if whole else walk.input(source)
    keep = bool(a["keepdims"])
    dims = [axis + 1 for axis in over] if whole else over
    match node.op_type:
        case "ReduceMax":
            found = largest(walk.asm, name, x, dims, keep)
        case "ReduceMin":
            found = compose.negate(
                walk.asm, name, largest(walk.asm, name, compose.negate(walk.asm, name, x), dims, keep)
            )
        case kind:
            found = compose.reduce(walk.asm, name, x, dims, keep, kind == "ReduceMean")
    return Whole(found) if whole else found


@converts("Max", "Min")
def _extreme(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
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
def _clip(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    a = attributes(node, min=None, max=None)
    low, high = (
        given if given is not None or a[key] is None else torch.tensor(float(a[key]))
        for key, given in (("min", walk.optional(node, 1)), ("max", walk.optional(node, 2)))
    )
    return compose.clamp(walk.asm, walk.name(node), walk.input(node.input[0]), low, high)


@converts("Abs")
def _absolute(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    attributes(node)
    return walk.asm.add(walk.name(node), ops.Absolute(), walk.input(node.input[0]))


@converts("Neg")
def _negate(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    attributes(node)
    return compose.negate(walk.asm, walk.name(node), walk.input(node.input[0]))


@converts("Sum", "Mean")
def _sum(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    attributes(node)
    asm, name, zero = walk.asm, walk.name(node), torch.tensor(0.0)
    found = reduce(partial(compose.add, asm, name), [walk.input(i) for i in node.input if i in walk.position])
    for i in node.input:
        if i not in walk.position:
            found = compose.scale(asm, name, found, torch.tensor(1.0), _per_sample(walk.value(i), asm.shape(found)))
    share = torch.tensor(1 / len(node.input))
    return compose.scale(asm, name, found, share, zero) if node.op_type == "Mean" and len(node.input) > 1 else found


@converts("Add", "Sub", "Mul", "Div")
def _arithmetic(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
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


def one_sample(walk: OnnxWalk, name: str) -> Tensor:
    """A constant with a batch dimension, for one sample. Raises Refusal if it depends on the place in the batch."""
    constant = walk.value(name)
    require(
        len(constant) in (1, walk.batch) and bool((constant == constant[:1]).all()), "with another constant per sample"
    )
    return constant[0]


def _per_sample(constant: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A constant without its batch dimension."""
    if constant.dim() <= len(shape):
        return constant
    if constant.dim() > len(shape) + 1 or constant.shape[0] != 1:
        raise Refusal(f"with a constant of shape {tuple(constant.shape)}, which fits no sample of shape {shape},")
    return constant[0]
