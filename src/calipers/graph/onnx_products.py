"""Converters of ONNX's matrix products with a constant, on either side."""

import math

import onnx
import torch
from torch import Tensor

from calipers.graph import compose
from calipers.graph.assembly import Position
from calipers.graph.onnx_maps import linear_map
from calipers.graph.onnx_walk import OnnxWalk, Whole, attributes, converts, require


@converts("MatMul")
def _matmul(walk: OnnxWalk, node: onnx.NodeProto) -> Position | Whole:
    attributes(node)
    left, right = node.input
    require(not (left in walk.position and right in walk.position), "of two computed values")
    first = left in walk.position
    source, weight = (left, walk.value(right)) if first else (right, walk.value(left))
    rank = len(walk.full(source))
    while weight.dim() > 2 and len(weight) == 1 and weight.dim() <= rank:
        weight = weight[0]  # one matrix for all
    if weight.dim() > 2:
        return linear_map(walk, node, source)
    name = walk.name(node)
    vector = weight.dim() == 1
    matrix = weight.reshape(-1, 1) if vector and first else weight.reshape(1, -1) if vector else weight
    # The product along the last dimension, or from the left along the one before; a vector has the last alone.
    along = 1 if first or rank == 1 else 2
    whole = source in walk.whole or rank == along
    require(not (whole and walk.batch > 1), "that mixes samples of the batch")
    x = walk.as_whole(source) if whole else walk.input(source)
    weights = matrix.T.contiguous() if first else matrix
    found = _along(walk, name, x, weights, along)
    if vector:
        shape = list(walk.asm.shape(found))
        del shape[-along]
        found = walk.asm.rearrange(name, found, lambda v: v.reshape(len(v), *shape))
    return Whole(found) if whole else found


@converts("Gemm")
def _gemm(walk: OnnxWalk, node: onnx.NodeProto) -> Position | Whole:
    a = attributes(node, alpha=1.0, beta=1.0, transA=0, transB=0)
    left, right = node.input[:2]
    addend = node.input[2] if len(node.input) > 2 else ""
    require(not (left in walk.position and right in walk.position), "of two computed values")
    name, asm = walk.name(node), walk.asm
    if left in walk.position and not a["transA"] and left not in walk.whole and addend not in walk.position:
        weight = walk.value(right)
        weight = (weight if a["transB"] else weight.T).contiguous()
        bias = walk.optional(node, 2)
        zero = weight.new_zeros(len(weight))
        bias = zero if bias is None else _row(bias, walk.batch, len(weight)) * a["beta"]
        scaled = weight * a["alpha"]
        if torch.equal(scaled.double(), weight.double() * a["alpha"]):
            return compose.linear(asm, name, walk.input(left), scaled, bias)
        # Where single precision does not hold the products, the factor comes afterwards.
        found = compose.linear(asm, name, walk.input(left), weight, zero)
        return compose.scale(asm, name, found, torch.tensor(a["alpha"]), bias)
    require(walk.batch == 1, "that mixes samples of the batch")
    first = left in walk.position
    source, turned = (left, a["transA"]) if first else (right, a["transB"])
    x = walk.as_whole(source)
    x = asm.rearrange(name, x, lambda v: v.movedim(-1, -2)) if turned else x
    weight = walk.value(right if first else left)
    weight = weight if (first and a["transB"]) or (not first and not a["transA"]) else weight.T
    found = _along(walk, name, x, weight.contiguous(), 1 if first else 2)
    one, zero, alpha, beta = torch.tensor(1.0), torch.tensor(0.0), torch.tensor(a["alpha"]), torch.tensor(a["beta"])
    found = found if a["alpha"] == 1 else compose.scale(asm, name, found, alpha, zero)
    if addend in walk.position:
        more = walk.as_whole(addend)
        found = compose.add(asm, name, found, more if a["beta"] == 1 else compose.scale(asm, name, more, beta, zero))
    elif addend:
        found = compose.scale(asm, name, found, one, walk.value(addend) * beta)
    return Whole(found)


def _along(walk: OnnxWalk, name: str, x: Position, weight: Tensor, along: int) -> Position:
    """Weight (out, in) times a value, along its last dimension or (along = 2) the one before."""
    asm = walk.asm
    shape = asm.shape(x)
    require(len(shape) >= along and shape[-along] == weight.shape[1], f"of {tuple(weight.shape)} and {shape}")
    zero = weight.new_zeros(len(weight))
    if along == 1 and (math.prod(shape[:-1]) != 1 or len(shape) == 1):
        return compose.linear(asm, name, x, weight, zero)
    if math.prod(shape) == shape[-along]:  # a row or a column is a vector
        flat = asm.rearrange(name, x, lambda v: v.reshape(len(v), -1))
        made = [*shape]
        made[-along] = len(weight)
        return asm.rearrange(name, compose.linear(asm, name, flat, weight, zero), lambda v: v.reshape(len(v), *made))
    turned = asm.rearrange(name, x, lambda v: v.movedim(-2, -1))
    return asm.rearrange(name, compose.linear(asm, name, turned, weight, zero), lambda v: v.movedim(-1, -2))


def _row(bias: Tensor, batch: int, count: int) -> Tensor:
    """What is added to every sample. Raises Refusal if samples differ."""
    require(
        bias.dim() < 2 or len(bias) == 1 or (len(bias) == batch and bool((bias == bias[:1]).all())),
        "with a bias per sample",
    )
    return (bias[:1] if bias.dim() == 2 else bias).expand(1, count).reshape(-1)
