"""The walk from a node back to the input, written once; relaxations and concretizers plug into it."""

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from functools import singledispatch
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from calipers.bounds.propagation.rows import Rows, clip_to_value
from calipers.bounds.propagation.transpose import transpose
from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.bounds.rounding import constant_gamma
from calipers.graph import ops
from calipers.graph.graph import Graph, Node


def _unchanged(position: int, rows: Rows) -> Rows:
    return rows


def backsubstitute(
    graph: Graph,
    start: int,
    rows: Rows,
    relaxations: Mapping[int, Relaxation],
    noise: Tensor | None,
    stop: Set[int] = frozenset({0}),
    visit: Callable[[int, Rows], Rows] = _unchanged,
) -> dict[int, Rows]:
    """Replace rows over node `start` by rows over the nodes in `stop` that bound them.

    relaxations: by node, for every nonlinearity between, with room for rounding (`rounding.charged`). The first whose
    planes are not parallel splits two-sided rows. noise: of node `start`; None for suggestions that prove nothing.
    visit: sees the rows at every node on the way and may add to them what is non-positive there.
    Returns rows by node; their sum, over values within the bounds, encloses the rows given.
    """
    pending = {start: rows if noise is None else rows.within(noise, constant_gamma(graph, rows.constant.dtype))}
    reached: dict[int, Rows] = {}
    for position in range(start, -1, -1):
        if position not in pending:
            continue
        here = visit(position, pending.pop(position))
        if position in stop:
            reached[position] = here
            continue
        node = graph.nodes[position]
        sources = [graph.nodes[i] for i in node.inputs]
        for source, part in zip(node.inputs, _through(node.op, here, sources, relaxations.get(position)), strict=True):
            pending[source] = pending[source] + part if source in pending else part
    return reached


@singledispatch
def _through(op: ops.Op, rows: Rows, sources: list[Node], relaxation: Relaxation | None) -> list[Rows]:
    raise TypeError(f"no backward rule for {type(op).__name__}")


@_through.register
def _(op: ops.Dense, rows: Rows, sources: list[Node], relaxation: Relaxation | None) -> list[Rows]:
    constant = rows.constant + rows.coefficient @ op.bias
    return [replace(rows, coefficient=rows.coefficient @ op.weight, constant=constant, shape=sources[0].shape)]


@_through.register
def _(op: ops.Conv2d, rows: Rows, sources: list[Node], relaxation: Relaxation | None) -> list[Rows]:
    groups, count = rows.coefficient.shape[:2]
    constant = rows.constant + rows.coefficient.sum((-2, -1)) @ op.bias
    shape = sources[0].shape
    pulled = transpose(op, rows.coefficient.flatten(0, 1)).unflatten(0, (groups, count))
    if rows.corner is None:
        coefficient, corner = _crop(pulled, op.padding, shape), None
    else:
        corner = _corner(op, rows.corner)
        coefficient = clip_to_value(pulled, corner, shape)
    return [_settle(replace(rows, coefficient=coefficient, constant=constant, corner=corner, shape=shape))]


@_through.register
def _(op: ops.PerEntry, rows: Rows, sources: list[Node], relaxation: Relaxation | None) -> list[Rows]:
    bias = op.bias.expand(rows.shape)
    constant = rows.constant + rows.dot(rows.constants(bias if rows.corner is None else op.bias))
    return [replace(rows, coefficient=rows.coefficient * rows.constants(op.weight), constant=constant)]


@_through.register
def _(op: ops.Reshape, rows: Rows, sources: list[Node], relaxation: Relaxation | None) -> list[Rows]:
    rows = rows.dense()
    shape = sources[0].shape
    coefficient = rows.coefficient.reshape(*rows.coefficient.shape[:2], *shape)
    if coefficient.dim() == 5:
        coefficient = coefficient.movedim(2, -1).contiguous().movedim(-1, 2)
    return [replace(rows, coefficient=coefficient, shape=shape)]


@_through.register
def _(op: ops.Add, rows: Rows, sources: list[Node], relaxation: Relaxation | None) -> list[Rows]:
    return [rows, replace(rows, constant=rows.constant * 0)]


@_through.register
def _(op: ops.ConvTranspose2d, rows: Rows, sources: list[Node], relaxation: Relaxation | None) -> list[Rows]:
    rows = rows.dense()
    groups, count = rows.coefficient.shape[:2]
    constant = rows.constant + rows.coefficient.sum((-2, -1)) @ op.bias
    flat = rows.coefficient.flatten(0, 1)
    pulled = F.conv2d(flat, op.weight, None, op.stride, op.padding, op.dilation, op.groups)
    shape = sources[0].shape
    # Output padding can make room for further steps, which belong to no input.
    coefficient = pulled[..., : shape[1], : shape[2]].unflatten(0, (groups, count))
    return [replace(rows, coefficient=coefficient, constant=constant, shape=shape)]


@_through.register
def _(op: ops.Gather, rows: Rows, sources: list[Node], relaxation: Relaxation | None) -> list[Rows]:
    rows = rows.dense()
    shape = sources[0].shape
    flat = rows.coefficient.flatten(2)
    pulled = flat.new_zeros(*flat.shape[:2], math.prod(shape)).index_add(2, op.index.flatten(), flat)
    return [replace(rows, coefficient=pulled.unflatten(2, shape), shape=shape)]


@_through.register
def _(op: ops.Pad, rows: Rows, sources: list[Node], relaxation: Relaxation | None) -> list[Rows]:
    shape = sources[0].shape
    constant = rows.constant
    if op.value:
        border = op.evaluate(rows.coefficient.new_zeros(1, *shape))[0]
        constant = constant + rows.dot(rows.constants(border))
    if rows.corner is None:
        coefficient = F.pad(rows.coefficient, [-amount for amount in op.amounts])
        return [replace(rows, coefficient=coefficient, constant=constant, shape=shape)]
    corner = rows.corner - rows.corner.new_tensor(op.before[1:])
    channels = F.pad(rows.coefficient, (0, 0, 0, 0, -op.before[0], -op.after[0]))
    coefficient = clip_to_value(channels, corner, shape)
    return [_settle(replace(rows, coefficient=coefficient, constant=constant, corner=corner, shape=shape))]


@_through.register
def _(op: ops.Concat, rows: Rows, sources: list[Node], relaxation: Relaxation | None) -> list[Rows]:
    rows = rows if op.dim == 0 else rows.dense()
    parts = rows.coefficient.split([source.shape[op.dim] for source in sources], 2 + op.dim)
    constants = [rows.constant] + [rows.constant * 0] * (len(parts) - 1)
    return [
        replace(rows, coefficient=part, constant=constant, shape=source.shape)
        for part, constant, source in zip(parts, constants, sources, strict=True)
    ]


@_through.register
def _(op: ops.Elementwise, rows: Rows, sources: list[Node], relaxation: Relaxation | None) -> list[Rows]:
    r = _given(relaxation, op)
    if r.parallel:
        constant = rows.extremes(r.middle, r.half)
        return [replace(rows, coefficient=rows.coefficient * rows.spread(r.lower_slope), constant=constant)]
    rows = rows.split()
    signs = rows.signs()
    coefficient = (signs[0].coefficient * rows.spread(r.lower_slope)).addcmul_(
        signs[1].coefficient, rows.spread(r.upper_slope)
    )
    return [replace(rows, coefficient=coefficient, constant=_relaxed_constant(rows, signs, r))]


@_through.register
def _(op: ops.MaxPool2d, rows: Rows, sources: list[Node], relaxation: Relaxation | None) -> list[Rows]:
    r = _given(relaxation, op)
    rows = rows if r.parallel else rows.split()
    signs = None if r.parallel else rows.signs()
    pulled = _through_windows(op, rows, signs, r)
    shape = sources[0].shape
    constant = rows.extremes(r.middle, r.half) if signs is None else _relaxed_constant(rows, signs, r)
    if rows.corner is None:
        return [replace(rows, coefficient=_crop(pulled, op.padding, shape), constant=constant, shape=shape)]
    # Relaxations give padding no weight, so nothing is left outside the value.
    corner = _corner(op, rows.corner)
    return [_settle(replace(rows, coefficient=pulled, constant=constant, corner=corner, shape=shape))]


def _through_windows(op: ops.MaxPool2d, rows: Rows, signs: tuple[Rows, Rows] | None, r: Relaxation) -> Tensor:
    """Coefficients of a pool's outputs as those of its inputs, which are added up where windows overlap."""
    groups, count, channels = rows.coefficient.shape[:3]
    size = (groups, count, *grow(op, rows.window), channels)
    # Each plane with the coefficients that take it.
    taken = [(rows, r.lower_slope)] if signs is None else [(signs[0], r.lower_slope), (signs[1], r.upper_slope)]
    if torch.is_grad_enabled():
        # Every write into a part of a tensor costs a copy of the whole on the way back of gradients.
        shares = [
            sum(part.coefficient * rows.spread(slope[:, pixel]) for part, slope in taken)
            for pixel in range(len(op.pixels))
        ]
        return _Laid.apply(rows.coefficient.new_empty(size).movedim(-1, 2), op, rows.window, *shares)
    if op.kernel == op.stride and op.dilation == (1, 1):
        return _side_by_side(op, rows.coefficient.new_empty(size), taken).movedim(-1, 2)
    pulled = rows.coefficient.new_zeros(size).movedim(-1, 2)
    for pixel, place in enumerate(_places(op, pulled, rows.window)):
        for part, slope in taken:
            place.addcmul_(part.coefficient, rows.spread(slope[:, pixel]))
    return pulled


def _side_by_side(op: ops.MaxPool2d, pulled: Tensor, taken: Sequence[tuple[Rows, Tensor]]) -> Tensor:
    """Fill (groups, rows, h, w, channels) from windows that do not overlap, every place once."""
    height, width = op.kernel
    lines = pulled.unflatten(2, (-1, height)).flatten(4).unflatten(4, (-1, width * pulled.shape[-1]))
    for index, (part, slope) in enumerate(taken):
        # A line of a window at once: short loops over channels alone are several times slower.
        coefficient = torch.cat([part.coefficient.movedim(2, -1)] * width, -1).unsqueeze(3)
        pixels = [part.spread(slope[:, pixel]).movedim(2, -1) for pixel in range(len(op.pixels))]
        laid = torch.stack([torch.cat(pixels[i : i + width], -1) for i in range(0, len(pixels), width)], 3)
        if index == 0:
            torch.mul(coefficient, laid, out=lines)
        else:
            lines.addcmul_(coefficient, laid)
    return pulled


def _places(op: ops.MaxPool2d, pulled: Tensor, window: tuple[int, int]) -> list[Tensor]:
    """The places of each pixel of windows that so many outputs see, pixel by pixel."""
    return [
        pulled[..., _steps(dy, op.stride[0], window[0]), _steps(dx, op.stride[1], window[1])] for dy, dx in op.pixels
    ]


class _Laid(torch.autograd.Function):
    """Adds the pixels' shares up in their places, with gradients."""

    @staticmethod
    def forward(ctx: Any, pulled: Tensor, op: ops.MaxPool2d, window: tuple[int, int], *shares: Tensor) -> Tensor:
        ctx.op, ctx.window = op, window
        pulled.zero_()
        for place, share in zip(_places(op, pulled, window), shares, strict=True):
            place.add_(share)
        ctx.mark_dirty(pulled)
        return pulled

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        return (None, None, None, *_places(ctx.op, gradients[0], ctx.window))


def reach(op: ops.Conv2d | ops.MaxPool2d) -> tuple[int, int]:
    """Height and width of the field that one output sees."""
    kernel = op.kernel if isinstance(op, ops.MaxPool2d) else op.weight.shape[2:]
    return (op.dilation[0] * (kernel[0] - 1) + 1, op.dilation[1] * (kernel[1] - 1) + 1)


def grow(op: ops.Conv2d | ops.MaxPool2d, window: tuple[int, int]) -> tuple[int, int]:
    """The window of the input that a window of the output sees."""
    fields = reach(op)
    return ((window[0] - 1) * op.stride[0] + fields[0], (window[1] - 1) * op.stride[1] + fields[1])


def _corner(op: ops.Conv2d | ops.MaxPool2d, corner: Tensor) -> Tensor:
    return corner * corner.new_tensor(op.stride) - corner.new_tensor(op.padding)


def _steps(start: int, stride: int, count: int) -> slice:
    return slice(start, start + stride * (count - 1) + 1, stride)


def _crop(pulled: Tensor, padding: tuple[int, int], shape: tuple[int, ...]) -> Tensor:
    bottom, right = (padding[i] + shape[1 + i] - pulled.shape[3 + i] for i in (0, 1))
    if bottom <= 0 and right <= 0:
        return pulled[..., padding[0] : padding[0] + shape[1], padding[1] : padding[1] + shape[2]]
    moved = F.pad(pulled.movedim(2, -1), (0, 0, -padding[1], right, -padding[0], bottom))
    return moved.movedim(-1, 2)


def _settle(rows: Rows) -> Rows:
    """Give up the window once it is no smaller than the value."""
    height, width = rows.window
    if rows.corner is not None and height * width >= rows.shape[1] * rows.shape[2]:
        return rows.dense()
    return rows


def _given(relaxation: Relaxation | None, op: ops.Op) -> Relaxation:
    if relaxation is None:
        raise ValueError(f"{type(op).__name__} has no relaxation")
    return relaxation


def _relaxed_constant(rows: Rows, signs: tuple[Rows, Rows], r: Relaxation) -> Tensor:
    """One-sided rows: positive coefficients take the bias below, negative ones the bias above."""
    lower, upper = signs
    constant = rows.constant + upper.dot(rows.spread(r.upper_bias))
    # Planes below that owe nothing for rounding go through the origin.
    return constant + lower.dot(rows.spread(r.lower_bias)) if bool(r.lower_bias.any()) else constant
