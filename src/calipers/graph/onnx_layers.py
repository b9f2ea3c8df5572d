"""Converters of ONNX's layers: affine maps, pools, normalisation and activations."""

import math
from typing import Any

import onnx
import torch
from torch import Tensor

from calipers.graph import compose, ops
from calipers.graph.assembly import Position
from calipers.graph.onnx_walk import OnnxWalk, Whole, attributes, converts, require
from calipers.graph.onnx_windows import WINDOW, convolution3d, pads_of


@converts("Conv")
def _conv(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    a = attributes(node, group=1, **WINDOW)
    weight, x = walk.value(node.input[1]), walk.input(node.input[0])
    spatial = weight.dim() - 2
    require(spatial in (1, 2, 3), f"with a {spatial}-d kernel")
    bias = walk.optional(node, 2)
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    before, after = pads_of(a, walk.asm.shape(x)[1:], list(weight.shape[2:]))
    if spatial == 3:
        (depth, *strides), (apart, *dilations) = (a[key] or [1] * 3 for key in ("strides", "dilations"))
        op = ops.Conv2d(weight, bias, _pair(strides, 1), (0, 0), _pair(dilations, 1), a["group"])
        return convolution3d(walk.asm, walk.name(node), x, op, (depth, apart), before, after)
    x, padding = compose.padded(walk.asm, walk.name(node), x, before, after)
    weight = weight if spatial == 2 else weight.unsqueeze(2)
    strides, dilations = (_pair(a[key] or [1] * spatial, 1) for key in ("strides", "dilations"))
    op = ops.Conv2d(weight, bias, strides, padding, dilations, a["group"])
    return compose.conv(walk.asm, walk.name(node), x, op)


@converts("ConvTranspose")
def _conv_transpose(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    a = attributes(node, group=1, output_padding=None, output_shape=None, **WINDOW)
    weight, x = walk.value(node.input[1]), walk.input(node.input[0])
    spatial = weight.dim() - 2
    require(spatial in (1, 2), f"with a {spatial}-d kernel")
    strides, dilations = (a[key] or [1] * spatial for key in ("strides", "dilations"))
    added = a["output_padding"] or [0] * spatial
    size = walk.asm.shape(x)[1:]
    reach = [d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    whole = [s * (n - 1) + r + e for n, r, s, e in zip(size, reach, strides, added, strict=True)]
    before, after = _cropped(a, whole, [n * s for n, s in zip(size, strides, strict=True)])
    require(min(*before, *after) >= 0, f"with pads {before} and {after}, which are negative,")
    # More padding after than before crops the output; that is less output padding.
    extra = [e + b - f for e, b, f in zip(added, before, after, strict=True)]
    fits = all(0 <= e < max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True))
    padding, rest = before, [0] * spatial
    if not fits:
        padding, extra = [0] * spatial, [max(0, e - f) for e, f in zip(added, after, strict=True)]
        rest = [max(0, f - e) for e, f in zip(added, after, strict=True)]
    bias = walk.optional(node, 2)
    op = ops.ConvTranspose2d(
        weight if spatial == 2 else weight.unsqueeze(2),
        weight.new_zeros(weight.shape[1] * a["group"]) if bias is None else bias,
        _pair(strides, 1),
        _pair(padding, 0),
        _pair(extra, 0),
        _pair(dilations, 1),
        a["group"],
    )
    found = compose.conv(walk.asm, walk.name(node), x, op)
    if fits:
        return found
    return walk.asm.add(walk.name(node), ops.Pad((0, *(-b for b in before)), (0, *(-r for r in rest))), found)


def _cropped(a: dict[str, Any], whole: list[int], same: list[int]) -> tuple[list[int], list[int]]:
    """How much of a transposed convolution's output is left out before and after each dimension.

    whole: its sizes without that. same: as many as inputs, times the strides.
    """
    spatial, kind = len(whole), a["auto_pad"]
    wanted = a["output_shape"] or (same if kind in (b"SAME_UPPER", b"SAME_LOWER") else None)
    if wanted is None:
        pads = a["pads"] if kind == b"NOTSET" else None
        return list(pads[:spatial] if pads else [0] * spatial), list(pads[spatial:] if pads else [0] * spatial)
    total = [max(0, w - s) for w, s in zip(whole, wanted[-spatial:], strict=True)]
    small, large = [t // 2 for t in total], [t - t // 2 for t in total]
    return (small, large) if kind == b"SAME_UPPER" else (large, small)


@converts("BatchNormalization")
def _batch_norm(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    a = attributes(node, epsilon=1e-5, momentum=0.9, training_mode=0, spatial=1)
    require(a["training_mode"] == 0 and a["spatial"] == 1, "in training mode or per pixel")
    gain, shift, mean, variance = (walk.value(name) for name in node.input[1:5])
    x = walk.input(node.input[0])
    op = ops.BatchNorm(mean, variance, gain, shift, float(a["epsilon"]), len(walk.asm.shape(x)))
    return compose.batch_norm(walk.asm, walk.name(node), x, op)


@converts("Relu")
def _relu(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    attributes(node)
    return walk.asm.add(walk.name(node), ops.Relu(), walk.input(node.input[0]))


@converts("LeakyRelu")
def _leaky_relu(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    slope = torch.tensor(float(attributes(node, alpha=0.01)["alpha"]))
    return compose.leaky_relu(walk.asm, walk.name(node), walk.input(node.input[0]), slope)


@converts("PRelu")
def _prelu(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    attributes(node)
    slope, x = walk.value(node.input[1]), walk.input(node.input[0])
    shape = walk.asm.shape(x)
    if slope.dim() > len(shape):
        require(slope.shape[0] == 1, "with a slope that depends on the place in the batch")
        slope = slope[0]
    return compose.leaky_relu(walk.asm, walk.name(node), x, slope)


@converts("Sigmoid")
def _sigmoid(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    attributes(node)
    return walk.asm.add(walk.name(node), ops.Sigmoid(), walk.input(node.input[0]))


@converts("HardSigmoid")
def _hard_sigmoid(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    a = attributes(node, alpha=0.2, beta=0.5)
    return compose.hard_sigmoid(walk.asm, walk.name(node), walk.input(node.input[0]), a["alpha"], a["beta"])


@converts("Tanh")
def _tanh(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    attributes(node)
    return walk.asm.add(walk.name(node), ops.Tanh(), walk.input(node.input[0]))


@converts("Softplus")
def _softplus(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    attributes(node)
    return compose.softplus(walk.asm, walk.name(node), walk.input(node.input[0]), 1.0, 50.0)


@converts("Softmax", "LogSoftmax")
def _softmax(walk: OnnxWalk, node: onnx.NodeProto) -> Position | Whole:
    modern = walk.opset.get("", 0) >= 13
    axis = attributes(node, axis=-1 if modern else 1)["axis"]
    source = node.input[0]
    shape, whole = walk.full(source), source in walk.whole
    axis %= len(shape)
    # Older versions take all dimensions from the axis on for one vector.
    vector = shape[axis] if modern else math.prod(shape[axis:])
    size = math.prod(shape) if whole else math.prod(shape[1:])
    require(vector == size and (whole or axis > 0), f"over dimension {axis} of a value of shape {shape}")
    x = walk.as_whole(source) if whole else walk.input(source)
    flat = walk.asm.rearrange(walk.name(node), x, lambda v: v.reshape(len(v), size))
    walk.asm.end(flat, ops.Softmax(node.op_type == "LogSoftmax"), 1)
    return Whole(flat) if whole else flat


def _pair(values: list[int] | Tensor, neutral: int) -> tuple[int, int]:
    """One or two numbers as two; a sequence is a map of height 1, where `neutral` applies."""
    first, *rest = (int(v) for v in values)
    return (first, rest[0]) if rest else (neutral, first)
