"""Converters of torch's other pools, of maxima over dimensions, of resizing, and of products with constants."""

from typing import Any

import torch
from torch import Tensor

from calipers.graph import compose, windows
from calipers.graph.assembly import Position, Refusal
from calipers.graph.torch_walk import TorchWalk, arguments, converts

aten = torch.ops.aten


@converts(
    aten.max_pool1d_with_indices.default,
    aten.max_pool2d_with_indices.default,
    aten.max_pool3d_with_indices.default,
    aten.max_pool3d.default,
)
def _max_pool(walk: TorchWalk, node: torch.fx.Node) -> Position | list[Position]:
    kernel, stride, padding, dilation, ceil_mode = arguments(node, 1, (1, [], 0, 1, False))
    x = walk.input(node.args[0])
    spatial = len(walk.asm.shape(x)) - 1
    kernel, padding, dilation = (_each(value, spatial) for value in (kernel, padding, dilation))
    stride = _each(stride, spatial) if stride else kernel
    sizes = walk.asm.shape(x)[1:]
    if ceil_mode:
        found = windows.max_pool(walk.asm, walk.name(node), x, kernel, stride, padding, dilation)
    else:
        each = zip(sizes, kernel, stride, padding, dilation, strict=True)
        found = windows.maxima(walk.asm, walk.name(node), x, [windows.pool_windows(*one, False) for one in each])
    return found if node.target is aten.max_pool3d.default else [found]


@converts(aten.adaptive_max_pool1d.default, aten.adaptive_max_pool2d.default, aten.adaptive_max_pool3d.default)
def _adaptive_max_pool(walk: TorchWalk, node: torch.fx.Node) -> list[Position]:
    (size,) = arguments(node, 1, ())
    x = walk.input(node.args[0])
    each = zip(walk.asm.shape(x)[1:], size, strict=True)
    return [windows.maxima(walk.asm, walk.name(node), x, [windows.adaptive_windows(n, count) for n, count in each])]


@converts(aten.amax.default, aten.amin.default)
def _extreme(walk: TorchWalk, node: torch.fx.Node) -> Position:
    dims, keep = arguments(node, 1, ([], False))
    largest = node.target is aten.amax.default
    return windows.extreme(walk.asm, walk.name(node), walk.input(node.args[0]), dims, keep, largest)


@converts(aten.max.dim, aten.min.dim)
def _extreme_along(walk: TorchWalk, node: torch.fx.Node) -> list[Position]:
    dim, keep = arguments(node, 1, (0, False))
    largest = node.target is aten.max.dim
    return [windows.extreme(walk.asm, walk.name(node), walk.input(node.args[0]), [dim], keep, largest)]


@converts(
    aten.adaptive_avg_pool3d.default,
    aten.avg_pool3d.default,
    aten.upsample_linear1d.vec,
    aten.upsample_bilinear2d.vec,
    aten.upsample_bicubic2d.vec,
    aten.upsample_trilinear3d.vec,
    aten._upsample_bilinear2d_aa.vec,
    aten._upsample_bicubic2d_aa.vec,
)
def _by_channel(walk: TorchWalk, node: torch.fx.Node) -> Position:
    return channel_map(walk, node)


def channel_map(walk: TorchWalk, node: torch.fx.Node) -> Position:
    """An operator that does one linear thing to every channel of its first operand."""
    return windows.channel_map(walk.asm, walk.name(node), walk.input(node.args[0]), lambda v: _run(walk, node, v))


@converts(
    aten.bmm.default,
    aten.einsum.default,
    aten.tensordot.default,
    aten.cumsum.default,
    aten.diff.default,
    aten.col2im.default,
    aten.conv_transpose3d.input,
    aten.grid_sampler.default,
)
def _linear(walk: TorchWalk, node: torch.fx.Node) -> Position:
    return linear_map(walk, node)


def linear_map(walk: TorchWalk, node: torch.fx.Node) -> Position:
    """An operator that is linear in its one computed operand."""
    occurrences: list[torch.fx.Node] = []
    torch.fx.node.map_arg((node.args, node.kwargs), occurrences.append)
    computed = [argument for argument in occurrences if walk.computed(argument)]
    if len(computed) != 1:
        raise Refusal("of two computed values")
    if node.target is aten.conv_transpose3d.input and node.args[2:3] not in ((), (None,)):
        raise Refusal("with a bias")
    x = walk.input(computed[0])
    return windows.linear_map(walk.asm, walk.name(node), x, lambda v: _run(walk, node, v), walk.batch)


@converts(aten.conv3d.default, aten.conv3d.padding)
def _conv3d(walk: TorchWalk, node: torch.fx.Node) -> Position:
    weight, bias = walk.value(node.args[1]), walk.optional(node.args[2] if len(node.args) > 2 else None)
    stride, padding, dilation, groups = arguments(node, 3, (1, 0, 1, 1))
    stride, dilation = _each(stride, 3), _each(dilation, 3)
    if padding == "same":
        reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        pairs = [(r // 2, r - r // 2) for r in reach]
    else:
        pairs = [(p, p) for p in _each(0 if padding == "valid" else padding, 3)]
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    x = walk.input(node.args[0])
    return windows.conv3d(walk.asm, walk.name(node), x, weight, bias, stride, pairs, dilation, groups)


@converts(aten.im2col.default)
def _unfold(walk: TorchWalk, node: torch.fx.Node) -> Position:
    kernel, dilation, padding, stride = arguments(node, 1, ())
    before = [0, *padding]
    x = walk.input(node.args[0])
    x = walk.asm.add(walk.name(node), compose.ops.Pad(tuple(before), tuple(before)), x) if any(padding) else x

    def move(entries: Tensor) -> Tensor:
        return aten.im2col(entries.double(), kernel, dilation, [0, 0], stride).to(entries.dtype)

    return walk.asm.rearrange(walk.name(node), x, move)


def _run(walk: TorchWalk, node: torch.fx.Node, value: Tensor) -> Tensor:
    """The operator in float64, its computed operand being `value`."""

    def given(argument: torch.fx.Node) -> Any:
        if walk.computed(argument):
            return value
        constant = walk.constant[argument]
        return constant.double() if isinstance(constant, Tensor) and constant.is_floating_point() else constant

    return walk.run(node, {argument: given(argument) for argument in node.all_input_nodes})


def _each(value: Any, spatial: int) -> list[int]:
    """One number per spatial dimension."""
    values = [value] if isinstance(value, int) else list(value)
    return values * spatial if len(values) == 1 else values
