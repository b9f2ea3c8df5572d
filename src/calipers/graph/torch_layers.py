"""Converters of torch's layers: affine maps, pools, normalisation and activations."""

from typing import Any

import torch
from torch import Tensor

from calipers.graph import compose, ops, windows
from calipers.graph.assembly import Position, Refusal
from calipers.graph.torch_pools import channel_map, linear_map
from calipers.graph.torch_walk import TorchWalk, arguments, converts

aten = torch.ops.aten


@converts(aten.linear.default)
def _linear(walk: TorchWalk, node: torch.fx.Node) -> Position:
    weight = walk.value(node.args[1])
    return compose.linear(walk.asm, walk.name(node), walk.input(node.args[0]), weight, _bias(walk, node, len(weight)))


@converts(aten.matmul.default, aten.mm.default)
def _matmul(walk: TorchWalk, node: torch.fx.Node) -> Position:
    left, right = node.args[:2]
    weight = walk.value(right if walk.computed(left) else left)
    x = walk.input(left if walk.computed(left) else right)
    name, asm = walk.name(node), walk.asm
    zero = weight.new_zeros(weight.shape[-1 if walk.computed(left) else 0])
    if weight.dim() == 2 and walk.computed(left):
        return compose.linear(asm, name, x, weight.T.contiguous(), zero)
    if weight.dim() == 2 and len(asm.shape(x)) > 1:
        turned = asm.rearrange(name, x, lambda v: v.transpose(-1, -2))
        return asm.rearrange(name, compose.linear(asm, name, turned, weight, zero), lambda v: v.transpose(-1, -2))
    return linear_map(walk, node)


@converts(aten.addmm.default)
def _addmm(walk: TorchWalk, node: torch.fx.Node) -> Position:
    arguments(node, 3, ())
    weight = walk.value(node.args[2]).T.contiguous()
    bias = walk.value(node.args[0]).expand(len(weight))
    return compose.linear(walk.asm, walk.name(node), walk.input(node.args[1]), weight, bias)


@converts(aten.conv1d.default, aten.conv1d.padding, aten.conv2d.default, aten.conv2d.padding)
def _conv(walk: TorchWalk, node: torch.fx.Node) -> Position:
    weight = walk.value(node.args[1])
    stride, padding, dilation, groups = arguments(node, 3, (1, 0, 1, 1))
    name, x = walk.name(node), walk.input(node.args[0])
    spatial = weight.dim() - 2
    dilation = _pair(dilation, spatial, 1)
    bias = _bias(walk, node, len(weight))
    weight = weight if spatial == 2 else weight.unsqueeze(2)
    if isinstance(padding, str):
        reach = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, weight.shape[2:], strict=True)]
        before = [r // 2 for r in reach][-spatial:]  # an even kernel looks one place further to the right
        after = [r - r // 2 for r in reach][-spatial:]
        x, padding = compose.padded(walk.asm, name, x, before, after)
    op = ops.Conv2d(weight, bias, _pair(stride, spatial, 1), _pair(padding, spatial, 0), dilation, groups)
    return compose.conv(walk.asm, name, x, op)


@converts(aten.conv_transpose1d.default, aten.conv_transpose2d.input)
def _conv_transpose(walk: TorchWalk, node: torch.fx.Node) -> Position:
    weight = walk.value(node.args[1])
    stride, padding, output_padding, groups, dilation = arguments(node, 3, (1, 0, 0, 1, 1))
    spatial = weight.dim() - 2
    bias = _bias(walk, node, weight.shape[1] * groups)
    op = ops.ConvTranspose2d(
        weight if spatial == 2 else weight.unsqueeze(2),
        bias,
        _pair(stride, spatial, 1),
        _pair(padding, spatial, 0),
        _pair(output_padding, spatial, 0),
        _pair(dilation, spatial, 1),
        groups,
    )
    return compose.conv(walk.asm, walk.name(node), walk.input(node.args[0]), op)


@converts(aten.max_pool1d.default, aten.max_pool2d.default)
def _max_pool(walk: TorchWalk, node: torch.fx.Node) -> Position:
    kernel, stride, padding, dilation, ceil_mode = arguments(node, 1, (1, [], 0, 1, False))
    spatial = 1 if node.target is aten.max_pool1d.default else 2
    kernel = _pair(kernel, spatial, 1)
    stride = _pair(stride, spatial, 1) if stride else kernel
    padding, dilation = _pair(padding, spatial, 0), _pair(dilation, spatial, 1)
    x = walk.input(node.args[0])
    if ceil_mode:
        ends = (list(value[-spatial:]) for value in (kernel, stride, padding, dilation))
        return windows.max_pool(walk.asm, walk.name(node), x, *ends)
    return compose.conv(walk.asm, walk.name(node), x, ops.MaxPool2d(kernel, stride, padding, dilation))


@converts(aten.avg_pool1d.default, aten.avg_pool2d.default)
def _average_pool(walk: TorchWalk, node: torch.fx.Node) -> Position:
    kernel, stride, padding, ceil_mode, count, divisor = arguments(node, 1, (1, [], 0, False, True, None))
    if ceil_mode:
        return channel_map(walk, node)
    spatial = 1 if node.target is aten.avg_pool1d.default else 2
    kernel = _pair(kernel, spatial, 1)
    stride = _pair(stride, spatial, 1) if stride else kernel
    x = walk.input(node.args[0])
    padding = _pair(padding, spatial, 0)
    return compose.average_pool(walk.asm, walk.name(node), x, kernel, stride, padding, count, divisor)


@converts(aten.adaptive_avg_pool1d.default, aten.adaptive_avg_pool2d.default)
def _adaptive_average_pool(walk: TorchWalk, node: torch.fx.Node) -> Position:
    (size,) = arguments(node, 1, ())
    x = walk.input(node.args[0])
    if any(count and given % count for given, count in zip(walk.asm.shape(x)[1:], size, strict=True)):
        return channel_map(walk, node)
    return compose.adaptive_average_pool(walk.asm, walk.name(node), x, size)


@converts(aten.batch_norm.default, aten._native_batch_norm_legit_no_training.default)
def _batch_norm(walk: TorchWalk, node: torch.fx.Node) -> Position:
    weight, bias, mean, variance = (walk.optional(a) for a in node.args[1:5])
    if mean is None or variance is None:
        raise Refusal("BatchNorm without running statistics")
    if node.target is aten.batch_norm.default and node.args[5]:
        raise Refusal("BatchNorm in train mode")
    epsilon: Any = node.args[7] if node.target is aten.batch_norm.default else node.args[6]
    x = walk.input(node.args[0])
    gain = torch.ones_like(mean) if weight is None else weight
    shift = torch.zeros_like(mean) if bias is None else bias
    op = ops.BatchNorm(mean, variance, gain, shift, float(epsilon), len(walk.asm.shape(x)))
    return compose.batch_norm(walk.asm, walk.name(node), x, op)


@converts(aten.relu.default, aten.relu_.default)
def _relu(walk: TorchWalk, node: torch.fx.Node) -> Position:
    return walk.asm.add(walk.name(node), ops.Relu(), walk.input(node.args[0]))


@converts(aten.threshold.default, aten.threshold_.default)
def _threshold(walk: TorchWalk, node: torch.fx.Node) -> Position:
    if tuple(map(float, node.args[1:3])) != (0.0, 0.0):  # type: ignore[arg-type]
        raise Refusal("that jumps; accepted: threshold and value 0, which is a ReLU;")
    return walk.asm.add(walk.name(node), ops.Relu(), walk.input(node.args[0]))


@converts(aten.rrelu.default, aten.rrelu_.default)
def _randomised_leaky_relu(walk: TorchWalk, node: torch.fx.Node) -> Position:
    low, high, training = arguments(node, 1, (1 / 8, 1 / 3, False))[:3]
    if training:
        raise Refusal("RReLU in train mode")
    slope = torch.tensor((float(low) + float(high)) / 2)
    return compose.leaky_relu(walk.asm, walk.name(node), walk.input(node.args[0]), slope)


@converts(aten.leaky_relu.default, aten.leaky_relu_.default)
def _leaky_relu(walk: TorchWalk, node: torch.fx.Node) -> Position:
    (slope,) = arguments(node, 1, (0.01,))
    return compose.leaky_relu(walk.asm, walk.name(node), walk.input(node.args[0]), torch.tensor(float(slope)))


@converts(aten.prelu.default)
def _prelu(walk: TorchWalk, node: torch.fx.Node) -> Position:
    slope, x = walk.value(node.args[1]), walk.input(node.args[0])
    ones = [1] * (len(walk.asm.shape(x)) - 1)
    return compose.leaky_relu(walk.asm, walk.name(node), x, slope.reshape(-1, *ones))


@converts(aten.sigmoid.default, aten.sigmoid_.default)
def _sigmoid(walk: TorchWalk, node: torch.fx.Node) -> Position:
    return walk.asm.add(walk.name(node), ops.Sigmoid(), walk.input(node.args[0]))


@converts(aten.tanh.default, aten.tanh_.default)
def _tanh(walk: TorchWalk, node: torch.fx.Node) -> Position:
    return walk.asm.add(walk.name(node), ops.Tanh(), walk.input(node.args[0]))


@converts(aten.softplus.default)
def _softplus(walk: TorchWalk, node: torch.fx.Node) -> Position:
    beta, threshold = arguments(node, 1, (1.0, 20.0))
    if threshold < 15:
        raise Refusal(f"with threshold={threshold}, where it jumps; accepted: 15 and more;")
    return compose.softplus(walk.asm, walk.name(node), walk.input(node.args[0]), float(beta), float(threshold))


@converts(aten.relu6.default, aten.relu6_.default)
def _relu6(walk: TorchWalk, node: torch.fx.Node) -> Position:
    low, high = torch.tensor(0.0), torch.tensor(6.0)
    return compose.clamp(walk.asm, walk.name(node), walk.input(node.args[0]), low, high)


@converts(aten.hardsigmoid.default, aten.hardsigmoid_.default)
def _hard_sigmoid(walk: TorchWalk, node: torch.fx.Node) -> Position:
    # As torch does: relu6(x + 3) / 6.
    name, asm = walk.name(node), walk.asm
    shifted = compose.scale(asm, name, walk.input(node.args[0]), torch.tensor(1.0), torch.tensor(3.0))
    limited = compose.clamp(asm, name, shifted, torch.tensor(0.0), torch.tensor(6.0))
    return compose.divide(asm, name, limited, torch.tensor(6.0))


@converts(aten.hardtanh.default, aten.hardtanh_.default)
def _hardtanh(walk: TorchWalk, node: torch.fx.Node) -> Position:
    low, high = (torch.tensor(float(v)) for v in arguments(node, 1, (-1.0, 1.0)))
    return compose.clamp(walk.asm, walk.name(node), walk.input(node.args[0]), low, high)


@converts(aten.softmax.int, aten.log_softmax.int)
def _softmax(walk: TorchWalk, node: torch.fx.Node) -> Position:
    dim = arguments(node, 1, ())[0]
    return walk.asm.end(walk.input(node.args[0]), ops.Softmax(node.target is aten.log_softmax.int), dim)


def _bias(walk: TorchWalk, node: torch.fx.Node, size: int) -> Tensor:
    bias = walk.optional(node.args[2] if len(node.args) > 2 else None)
    return walk.value(node.args[1]).new_zeros(size) if bias is None else bias


def _pair(value: Any, spatial: int, neutral: int) -> tuple[int, int]:
    """One or two numbers as two; a sequence is a map of height 1, where `neutral` applies."""
    values = [value] if isinstance(value, int) else list(value)
    if len(values) == 2:
        return (values[0], values[1])
    return (values[0], values[0]) if spatial == 2 else (neutral, values[0])
