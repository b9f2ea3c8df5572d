"""Converters of ONNX's layers: affine maps, pools, normalisation and activations."""

import math
from typing import Any

import onnx
import torch
from torch import Tensor

from calipers.graph import compose, ops
from calipers.graph.assembly import Position, Refusal
from calipers.graph.onnx_walk import Walk, attributes, converts, require

_WINDOW: dict[str, Any] = {
    "auto_pad": b"NOTSET",
    "dilations": None,
    "kernel_shape": None,
    "pads": None,
    "strides": None,
}


@converts("Conv")
def _conv(walk: Walk, node: onnx.NodeProto) -> Position:
    a = attributes(node, group=1, **_WINDOW)
    weight, x = walk.value(node.input[1]), walk.input(node.input[0])
    spatial = weight.dim() - 2
    require(spatial in (1, 2), f"with a {spatial}-d kernel")
    bias = walk.optional(node, 2)
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    before, after = _pads(a, walk.asm.shape(x)[1:], list(weight.shape[2:]))
    x, padding = compose.padded(walk.asm, walk.name(node), x, before, after)
    weight = weight if spatial == 2 else weight.unsqueeze(2)
    strides, dilations = (_pair(a[key] or [1] * spatial, 1) for key in ("strides", "dilations"))
    op = ops.Conv2d(weight, bias, strides, padding, dilations, a["group"])
    return compose.conv(walk.asm, walk.name(node), x, op)


@converts("ConvTranspose")
def _conv_transpose(walk: Walk, node: onnx.NodeProto) -> Position:
    a = attributes(node, group=1, output_padding=None, output_shape=None, **_WINDOW)
    weight, x = walk.value(node.input[1]), walk.input(node.input[0])
    spatial = weight.dim() - 2
    require(spatial in (1, 2), f"with a {spatial}-d kernel")
    require(a["output_shape"] is None, "with output_shape")
    require(a["auto_pad"] in (b"NOTSET", b"VALID"), f"auto_pad={a['auto_pad']!r}")
    pads = a["pads"] or [0] * (2 * spatial)
    extra = a["output_padding"] or [0] * spatial
    # More padding after than before crops the output; that is less output padding.
    extra = [e + pads[i] - pads[spatial + i] for i, e in enumerate(extra)]
    strides, dilations = (a[key] or [1] * spatial for key in ("strides", "dilations"))
    fits = all(0 <= e < max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True))
    require(fits, f"with uneven pads {pads}")
    bias = walk.optional(node, 2)
    op = ops.ConvTranspose2d(
        weight if spatial == 2 else weight.unsqueeze(2),
        weight.new_zeros(weight.shape[1] * a["group"]) if bias is None else bias,
        _pair(strides, 1),
        _pair(pads[:spatial], 0),
        _pair(extra, 0),
        _pair(dilations, 1),
        a["group"],
    )
    return compose.conv(walk.asm, walk.name(node), x, op)


@converts("MaxPool")
def _max_pool(walk: Walk, node: onnx.NodeProto) -> Position:
    a = attributes(node, ceil_mode=0, storage_order=0, **_WINDOW)
    require(a["ceil_mode"] == 0, "ceil_mode=1")
    require(len(node.output) == 1, "with indices")
    kernel, stride, padding, dilation = _pool(walk, node, a)
    op = ops.MaxPool2d(kernel, stride, padding, dilation)
    return compose.conv(walk.asm, walk.name(node), walk.input(node.input[0]), op)


@converts("AveragePool")
def _average_pool(walk: Walk, node: onnx.NodeProto) -> Position:
    a = attributes(node, ceil_mode=0, count_include_pad=0, **_WINDOW)
    require(a["ceil_mode"] == 0, "ceil_mode=1")
    kernel, stride, padding, dilation = _pool(walk, node, a)
    require(dilation == (1, 1), f"dilations={a['dilations']}")
    x = walk.input(node.input[0])
    return compose.average_pool(walk.asm, walk.name(node), x, kernel, stride, padding, bool(a["count_include_pad"]))


@converts("GlobalAveragePool")
def _global_average_pool(walk: Walk, node: onnx.NodeProto) -> Position:
    attributes(node)
    x = walk.input(node.input[0])
    dims = range(2, len(walk.asm.shape(x)) + 1)
    return compose.reduce(walk.asm, walk.name(node), x, dims, True, True)


@converts("Gemm")
def _gemm(walk: Walk, node: onnx.NodeProto) -> Position:
    a = attributes(node, alpha=1.0, beta=1.0, transA=0, transB=0)
    require(a["transA"] == 0, "with transA")
    weight = walk.value(node.input[1]) * a["alpha"]
    weight = (weight if a["transB"] else weight.T).contiguous()
    bias = walk.optional(node, 2)
    bias = weight.new_zeros(len(weight)) if bias is None else (bias * a["beta"]).expand(1, len(weight)).reshape(-1)
    return compose.linear(walk.asm, walk.name(node), walk.input(node.input[0]), weight, bias)


@converts("MatMul")
def _matmul(walk: Walk, node: onnx.NodeProto) -> Position:
    attributes(node)
    left, right = node.input
    first = left in walk.position
    weight, x = walk.value(right if first else left), walk.input(left if first else right)
    require(weight.dim() == 2, f"with a constant of shape {tuple(weight.shape)}")
    require(first or len(walk.asm.shape(x)) == 1, "from the left with more than one column")
    weight = weight.T.contiguous() if first else weight
    return compose.linear(walk.asm, walk.name(node), x, weight, weight.new_zeros(len(weight)))


@converts("BatchNormalization")
def _batch_norm(walk: Walk, node: onnx.NodeProto) -> Position:
    a = attributes(node, epsilon=1e-5, momentum=0.9, training_mode=0, spatial=1)
    require(a["training_mode"] == 0 and a["spatial"] == 1, "in training mode or per pixel")
    gain, shift, mean, variance = (walk.value(name) for name in node.input[1:5])
    x = walk.input(node.input[0])
    op = ops.BatchNorm(mean, variance, gain, shift, float(a["epsilon"]), len(walk.asm.shape(x)))
    return compose.batch_norm(walk.asm, walk.name(node), x, op)


@converts("Relu")
def _relu(walk: Walk, node: onnx.NodeProto) -> Position:
    attributes(node)
    return walk.asm.add(walk.name(node), ops.Relu(), walk.input(node.input[0]))


@converts("LeakyRelu")
def _leaky_relu(walk: Walk, node: onnx.NodeProto) -> Position:
    slope = torch.tensor(float(attributes(node, alpha=0.01)["alpha"]))
    return compose.leaky_relu(walk.asm, walk.name(node), walk.input(node.input[0]), slope)


@converts("PRelu")
def _prelu(walk: Walk, node: onnx.NodeProto) -> Position:
    attributes(node)
    slope, x = walk.value(node.input[1]), walk.input(node.input[0])
    shape = walk.asm.shape(x)
    if slope.dim() > len(shape):
        require(slope.shape[0] == 1, "with a slope that depends on the place in the batch")
        slope = slope[0]
    return compose.leaky_relu(walk.asm, walk.name(node), x, slope)


@converts("Sigmoid")
def _sigmoid(walk: Walk, node: onnx.NodeProto) -> Position:
    attributes(node)
    return walk.asm.add(walk.name(node), ops.Sigmoid(), walk.input(node.input[0]))


@converts("Tanh")
def _tanh(walk: Walk, node: onnx.NodeProto) -> Position:
    attributes(node)
    return walk.asm.add(walk.name(node), ops.Tanh(), walk.input(node.input[0]))


@converts("Softplus")
def _softplus(walk: Walk, node: onnx.NodeProto) -> Position:
    attributes(node)
    return compose.softplus(walk.asm, walk.name(node), walk.input(node.input[0]), 1.0, 50.0)


@converts("Softmax", "LogSoftmax")
def _softmax(walk: Walk, node: onnx.NodeProto) -> Position:
    axis = attributes(node, axis=-1 if walk.opset.get("", 0) >= 13 else 1)["axis"]
    return walk.asm.end(walk.input(node.input[0]), ops.Softmax(node.op_type == "LogSoftmax"), axis)


def _pool(walk: Walk, node: onnx.NodeProto, a: dict[str, Any]) -> tuple[tuple[int, int], ...]:
    """Kernel, stride, padding and dilation of a pool."""
    kernel = list(a["kernel_shape"])
    spatial = len(kernel)
    require(spatial in (1, 2), f"with a {spatial}-d window")
    before, after = _pads(a, walk.asm.shape(walk.input(node.input[0]))[1:], kernel)
    require(before == after, f"with uneven pads {[*before, *after]}")
    strides, dilations = (a[key] or [1] * spatial for key in ("strides", "dilations"))
    return _pair(kernel, 1), _pair(strides, 1), _pair(before, 0), _pair(dilations, 1)


def _pads(a: dict[str, Any], size: tuple[int, ...], kernel: list[int]) -> tuple[list[int], list[int]]:
    """Padding before and after each spatial dimension."""
    spatial = len(kernel)
    require(len(size) == spatial, f"with a {spatial}-d window over {len(size)} dimensions")
    if a["kernel_shape"] is not None:
        require(list(a["kernel_shape"]) == kernel, f"kernel_shape={a['kernel_shape']} for a kernel of shape {kernel}")
    kind = a["auto_pad"]
    if kind in (b"NOTSET", b"VALID"):
        pads = (a["pads"] if kind == b"NOTSET" else None) or [0] * (2 * spatial)
        return list(pads[:spatial]), list(pads[spatial:])
    if kind not in (b"SAME_UPPER", b"SAME_LOWER"):
        raise Refusal(f"auto_pad={kind!r}")
    strides, dilations = (a[key] or [1] * spatial for key in ("strides", "dilations"))
    total = [
        max(0, (math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n)
        for n, k, s, d in zip(size, kernel, strides, dilations, strict=True)
    ]
    small, large = [t // 2 for t in total], [t - t // 2 for t in total]
    return (small, large) if kind == b"SAME_UPPER" else (large, small)


def _pair(values: list[int] | Tensor, neutral: int) -> tuple[int, int]:
    """One or two numbers as two; a sequence is a map of height 1, where `neutral` applies."""
    first, *rest = (int(v) for v in values)
    return (first, rest[0]) if rest else (neutral, first)
