"""Converters of ONNX's pools. Padding that the basic operations do not know is made exactly, or refused."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import onnx
import torch

from calipers.graph import compose, ops
from calipers.graph.assembly import Assembly, Position
from calipers.graph.onnx_walk import OnnxWalk, attributes, converts, require
from calipers.graph.onnx_windows import WINDOW, convolution3d, ones, pads_of


class _Pool(NamedTuple):
    """Windows over the spatial dimensions. overhang: how far the last one reaches beyond the padding (ceil_mode)."""

    kernel: list[int]
    stride: list[int]
    dilation: list[int]
    before: list[int]
    after: list[int]
    overhang: list[int]

    @property
    def even(self) -> bool:
        """Whether the basic operations know this padding: none for volumes, else up to half a window on either side."""
        share = 0 if len(self.kernel) == 3 else 2
        small = all(pad * share <= k and (share or not pad) for pad, k in zip(self.before, self.kernel, strict=True))
        return self.before == self.after and not any(self.overhang) and small

    def starts(self, size: int, i: int) -> range:
        """Where windows begin along a dimension, counted from the first pixel."""
        reach = self.dilation[i] * (self.kernel[i] - 1) + 1
        last = size + self.after[i] + self.overhang[i] - reach
        return range(-self.before[i], last + 1, self.stride[i])


@converts("MaxPool")
def _max_pool(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    a = attributes(node, ceil_mode=0, storage_order=0, **WINDOW)
    require(len([name for name in node.output if name]) == 1, "with indices")
    x = walk.input(node.input[0])
    pool = _pool(a, walk.asm.shape(x)[1:])
    name, asm = walk.name(node), walk.asm
    if not pool.even:
        x = _repeated(asm, name, x, pool)
        none = [0] * len(pool.kernel)
        pool = pool._replace(before=none, after=none, overhang=none)
    if len(pool.kernel) == 3:
        return _max_pool3d(asm, name, x, pool)
    op = ops.MaxPool2d(_pair(pool.kernel, 1), _pair(pool.stride, 1), _pair(pool.before, 0), _pair(pool.dilation, 1))
    return compose.conv(asm, name, x, op)


@converts("AveragePool")
def _average_pool(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    a = attributes(node, ceil_mode=0, count_include_pad=0, **WINDOW)
    x = walk.input(node.input[0])
    pool, counted = _pool(a, walk.asm.shape(x)[1:]), bool(a["count_include_pad"])
    name, asm = walk.name(node), walk.asm
    if pool.even and len(pool.kernel) < 3 and set(pool.dilation) == {1}:
        sides = (_pair(pool.kernel, 1), _pair(pool.stride, 1), _pair(pool.before, 0))
        return compose.average_pool(asm, name, x, *sides, counted)
    return _average(asm, name, x, pool, counted)


@converts("GlobalAveragePool")
def _global_average_pool(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    attributes(node)
    x = walk.input(node.input[0])
    dims = range(2, len(walk.asm.shape(x)) + 1)
    return compose.reduce(walk.asm, walk.name(node), x, dims, True, True)


@converts("GlobalMaxPool")
def _global_max_pool(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    attributes(node)
    x = walk.input(node.input[0])
    return largest(walk.asm, walk.name(node), x, range(2, len(walk.asm.shape(x)) + 1), True)


def largest(asm: Assembly, name: str, x: Position, dims: Sequence[int], keep: bool) -> Position:
    """Maximum over dimensions (the batch is 0) as one window for each."""
    shape = asm.shape(x)
    over = sorted(dims)
    others = [d for d in range(1, len(shape) + 1) if d not in over]
    left = tuple(1 if d + 1 in over else s for d, s in enumerate(shape) if keep or d + 1 not in over)
    if len(shape) == 3 and over == [2, 3]:
        window = (shape[1], shape[2])
        pooled = asm.add(name, ops.MaxPool2d(window, window), x)
    else:
        count = math.prod(shape[d - 1] for d in over)
        rows = asm.rearrange(name, x, lambda v: v.permute(0, *others, *over).reshape(len(v), 1, -1, count))
        pooled = asm.add(name, ops.MaxPool2d((1, count), (1, count)), rows)
    return asm.rearrange(name, pooled, lambda v: v.reshape(len(v), *left))


def _pool(a: dict[str, Any], size: tuple[int, ...]) -> _Pool:
    kernel = list(a["kernel_shape"])
    spatial = len(kernel)
    require(spatial in (1, 2, 3), f"with a {spatial}-d window")
    before, after = pads_of(a, size, kernel)
    strides, dilations = (list(a[key] or [1] * spatial) for key in ("strides", "dilations"))
    overhang = [0] * spatial
    if a["ceil_mode"]:
        for i, (n, k, s, d) in enumerate(zip(size, kernel, strides, dilations, strict=True)):
            reach = d * (k - 1) + 1
            count = math.ceil((n + before[i] + after[i] - reach) / s) + 1
            # A window that begins beyond the last pixel is left out.
            count -= (count - 1) * s >= n + before[i]
            overhang[i] = max(0, (count - 1) * s + reach - n - before[i] - after[i])
    pool = _Pool(kernel, strides, dilations, before, after, overhang)
    require(
        all(pool.starts(n, i) for i, n in enumerate(size)), f"with a window {kernel} that is larger than {list(size)}"
    )
    return pool


def _repeated(asm: Assembly, name: str, x: Position, pool: _Pool) -> Position:
    """The value with pixels around it that change no maximum: each is one that all its windows hold already."""
    index = []
    for i, n in enumerate(asm.shape(x)[1:]):
        k, d = pool.kernel[i], pool.dilation[i]
        starts = pool.starts(n, i)
        require(all(any(0 <= s + j * d < n for j in range(k)) for s in starts), "with a window of padding alone")
        places = range(-pool.before[i], n + pool.after[i] + pool.overhang[i])
        # Windows step by the dilation, so the nearest pixel that many steps away is in each that reaches this far.
        inner = [
            p + d * math.ceil(-p / d) if p < 0 else p - d * math.ceil((p - n + 1) / d) if p >= n else p for p in places
        ]
        index.append(torch.tensor(inner).clamp(0, n - 1))
    places_of: tuple[Any, ...] = (slice(None), slice(None), *torch.meshgrid(*index, indexing="ij"))
    return asm.rearrange(name, x, lambda v: v[places_of])


def _max_pool3d(asm: Assembly, name: str, x: Position, pool: _Pool) -> Position:
    """Over a volume without padding: the plane first, then the depth."""
    channels, depth, height, width = asm.shape(x)
    (kd, *k), (sd, *s), (dd, *d) = pool.kernel, pool.stride, pool.dilation
    flat = asm.rearrange(name, x, lambda v: v.reshape(len(v), channels * depth, height, width))
    flat = asm.add(name, ops.MaxPool2d((k[0], k[1]), (s[0], s[1]), (0, 0), (d[0], d[1])), flat)
    height, width = asm.shape(flat)[1:]
    columns = asm.rearrange(name, flat, lambda v: v.reshape(len(v), channels, depth, height * width))
    columns = asm.add(name, ops.MaxPool2d((kd, 1), (sd, 1), (0, 0), (dd, 1)), columns)
    return asm.rearrange(name, columns, lambda v: v.reshape(len(v), channels, -1, height, width))


def _average(asm: Assembly, name: str, x: Position, pool: _Pool, counted: bool) -> Position:
    """A mean over windows with any padding: a depthwise convolution, rescaled by how many values a window holds."""
    channels, *size = asm.shape(x)
    flat, spatial = x, len(size)
    if spatial == 1:  # a sequence is a map of height 1
        flat, size = asm.add(name, ops.Reshape((channels, 1, *size)), x), [1, *size]
    lift = [0] * (len(size) - spatial)
    before, inner, overhang = ([*lift, *amounts] for amounts in (pool.before, pool.after, pool.overhang))
    after = [i + o for i, o in zip(inner, overhang, strict=True)]
    kernel, stride, dilation = ([*[1] * len(lift), *v] for v in (pool.kernel, pool.stride, pool.dilation))
    none = [0] * len(size)
    held = ones(size, before, after)
    if counted:
        held = ones([n + b + i for n, b, i in zip(size, before, inner, strict=True)], none, overhang)
    unfold = held
    for i in range(len(size)):
        starts = range(0, unfold.shape[i] - dilation[i] * (kernel[i] - 1), stride[i])
        unfold = torch.stack([unfold.narrow(i, s, dilation[i] * (kernel[i] - 1) + 1) for s in starts], i)
        unfold = unfold.movedim(i + 1, -1)[..., :: dilation[i]].sum(-1)
    share = 1 / math.prod(kernel)
    weight, bias = torch.full((channels, 1, *kernel), share), torch.zeros(channels)
    plane = [(v[-2], v[-1]) for v in (stride, dilation)]
    op = ops.Conv2d(weight, bias, plane[0], (0, 0), plane[1], channels)
    if len(size) == 3:
        pooled = convolution3d(asm, name, flat, op, (stride[0], dilation[0]), before, after)
    else:
        pooled = asm.add(name, op, asm.add(name, ops.Pad((0, *before), (0, *after)), flat))
    factor = (math.prod(kernel) / unfold).to(torch.float32).unsqueeze(0)
    scaled = compose.scale(asm, name, pooled, factor, torch.tensor(0.0))
    return scaled if spatial > 1 else asm.rearrange(name, scaled, lambda v: v.squeeze(2))


def _pair(values: list[int], neutral: int) -> tuple[int, int]:
    """One or two numbers as two; a sequence is a map of height 1, where `neutral` applies. Of three, the last two."""
    return (neutral, values[0]) if len(values) == 1 else (values[-2], values[-1])
