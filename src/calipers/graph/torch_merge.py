"""Converters of torch operations that put entries of several values, and constants, in new places."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from calipers.graph import ops
from calipers.graph.assembly import Position, Refusal
from calipers.graph.torch_walk import TorchWalk, arguments, converts

aten = torch.ops.aten


@converts(aten.cat.default)
def _concat(walk: TorchWalk, node: torch.fx.Node) -> Position:
    parts: Any = node.args[0]
    (dim,) = arguments(node, 1, (0,))
    if not all(walk.computed(part) for part in parts):
        return merge(walk, node, parts, lambda *values: torch.cat(values, dim))
    return _join(walk, node, [walk.input(part) for part in parts], dim)


@converts(aten.stack.default)
def _stack(walk: TorchWalk, node: torch.fx.Node) -> Position | list[Position]:
    parts: Any = node.args[0]
    (dim,) = arguments(node, 1, (0,))
    if not all(walk.computed(part) for part in parts):
        return merge(walk, node, parts, lambda *values: torch.stack(values, dim))
    positions = [walk.input(part) for part in parts]
    dim = dim % (len(walk.asm.shape(positions[0])) + 2)
    if dim == 0:
        return positions  # members of an ensemble, in front of the batch: a mean or sum over them may follow
    name = walk.name(node)
    return _join(walk, node, [walk.asm.rearrange(name, p, lambda v: v.unsqueeze(dim)) for p in positions], dim)


def _join(walk: TorchWalk, node: torch.fx.Node, positions: list[Position], dim: int) -> Position:
    dim = dim % (len(walk.asm.shape(positions[0])) + 1)
    if dim == 0:
        raise Refusal("along the batch dimension")
    return walk.asm.add(walk.name(node), ops.Concat(dim - 1), *positions)


@converts(aten.where.self, aten.where.ScalarOther, aten.where.ScalarSelf)
def _where(walk: TorchWalk, node: torch.fx.Node) -> Position:
    condition, *values = node.args
    chosen = walk.value(condition)
    return merge(walk, node, values, lambda yes, no: torch.where(chosen, yes, no))


@converts(aten.masked_fill.Scalar, aten.masked_fill.Tensor)
def _masked_fill(walk: TorchWalk, node: torch.fx.Node) -> Position:
    x, mask, value = node.args
    chosen = walk.value(mask)
    return merge(walk, node, [x, value], lambda kept, filled: torch.where(chosen, filled, kept))


@converts(aten.tril.default, aten.triu.default)
def _triangle(walk: TorchWalk, node: torch.fx.Node) -> Position:
    (diagonal,) = arguments(node, 1, (0,))
    inside: Any = torch.ones(walk.asm.shape(walk.input(node.args[0])), dtype=torch.bool)
    inside = node.target(inside, diagonal)  # type: ignore[operator]
    return merge(walk, node, [node.args[0], 0.0], lambda kept, filled: torch.where(inside, kept, filled))


@converts(aten.select_scatter.default, aten.slice_scatter.default, aten.copy.default, aten.index_copy.default)
def _scatter(walk: TorchWalk, node: torch.fx.Node) -> Position:
    x, *rest = node.args
    at = 1 if node.target is aten.index_copy.default else 0
    source = rest.pop(2 if at else 0)
    places = [walk.constant[a] if isinstance(a, torch.fx.Node) else a for a in rest]

    def run(into: Tensor, values: Tensor) -> Tensor:
        given = [*places[:2], values] if at else [values, *places]
        return node.target(into, *given, **node.kwargs)  # type: ignore[operator]

    return merge(walk, node, [x, source], run)


@converts(aten.index_put.default)
def _index_put(walk: TorchWalk, node: torch.fx.Node) -> Position:
    x, indices, values = node.args[:3]
    if arguments(node, 3, (False,))[0]:
        raise Refusal("with accumulate=True")
    places = [None if i is None else walk.value(i) for i in indices]  # type: ignore[union-attr]
    return merge(walk, node, [x, values], lambda into, new: aten.index_put(into, places, new))


def merge(walk: TorchWalk, node: torch.fx.Node, operands: Sequence[Any], function: Callable[..., Tensor]) -> Position:
    """What `function` does to operands, where it only moves, drops or repeats their entries within every sample.

    operands: computed values, constant tensors and numbers; one at least is computed. `function` is carried out once on
    numbers that stand for the entries: from 0 on those of computed values, below 0 those of constants.
    """
    asm, name = walk.asm, walk.name(node)
    computed = [walk.input(operand) for operand in operands if walk.computed(operand)]
    sizes = [int(torch.Size(asm.shape(position)).numel()) for position in computed]
    total, start, values = sum(sizes), 0, [torch.zeros(0)]
    stand_ins = []
    for operand in operands:
        if walk.computed(operand):
            shape = asm.shape(walk.input(operand))
            size = int(torch.Size(shape).numel())
            numbers = torch.arange(start, start + size) + total * torch.arange(walk.batch)[:, None]
            stand_ins.append(numbers.reshape(walk.batch, *shape))
            start += size
        else:
            constant = walk.value(operand).to(torch.get_default_dtype())
            taken = sum(map(len, values))
            stand_ins.append(-1 - torch.arange(taken, taken + constant.numel()).reshape(constant.shape))
            values.append(constant.flatten())
    moved = function(*stand_ins)
    if moved.dim() == 0 or len(moved) != walk.batch:
        raise Refusal("that mixes or drops samples of the batch")
    fixed = torch.cat([*values, torch.zeros(1)])  # the last entry stands for what is not constant
    bias = fixed[torch.where(moved < 0, -1 - moved, len(fixed) - 1)]
    index = moved.where(moved >= 0, total * torch.arange(walk.batch).reshape(-1, *([1] * (moved.dim() - 1))))
    kept = moved >= 0
    if not (torch.equal(bias, bias[:1].expand_as(bias)) and torch.equal(kept, kept[:1].expand_as(kept))):
        raise Refusal("with a constant that depends on the place in the batch")
    if not bool(bias.isfinite().all()):
        raise Refusal("with a constant that is not finite")
    flat = [asm.rearrange(name, position, lambda v: v.flatten(1)) for position in computed]
    together = flat[0] if len(flat) == 1 else asm.add(name, ops.Concat(0), *flat)
    places = asm.rearrange(name, together, lambda v: v.flatten()[index])
    if bool(kept.all()):
        return places
    return asm.add(name, ops.Scale(kept[0].to(bias.dtype), bias[0].contiguous()), places)
