"""Converters of torch's tensor operations: rearrangements, joins and arithmetic."""

from functools import partial, reduce

import torch
from torch import Tensor

from calipers.graph import compose, ops
from calipers.graph.assembly import Position, Refusal
from calipers.graph.torch_walk import TorchWalk, arguments, converts

aten = torch.ops.aten


@converts(
    aten.view.default,
    aten.reshape.default,
    aten.flatten.using_ints,
    aten.unflatten.int,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.unsqueeze.default,
    aten.permute.default,
    aten.transpose.int,
    aten.movedim.int,
    aten.movedim.intlist,
    aten.t.default,
    aten._unsafe_view.default,
    aten.unbind.int,
    aten.diagonal.default,
    aten.unfold.default,
    aten.rot90.default,
    aten.repeat_interleave.self_int,
    aten.slice.Tensor,
    aten.select.int,
    aten.narrow.default,
    aten.index_select.default,
    aten.index.Tensor,
    aten.gather.default,
    aten.take_along_dim.default,
    aten.take.default,
    aten.split.Tensor,
    aten.split_with_sizes.default,
    aten.chunk.default,
    aten.expand.default,
    aten.repeat.default,
    aten.flip.default,
    aten.roll.default,
    aten.pixel_shuffle.default,
    aten.pixel_unshuffle.default,
    aten.channel_shuffle.default,
    aten.upsample_nearest1d.vec,
    aten.upsample_nearest2d.vec,
    aten.upsample_nearest3d.vec,
    aten._upsample_nearest_exact1d.vec,
    aten._upsample_nearest_exact2d.vec,
    aten._upsample_nearest_exact3d.vec,
)
def _rearrange(walk: TorchWalk, node: torch.fx.Node) -> Position | list[Position]:
    return walk.rearrange(node)


@converts(
    aten.contiguous.default,
    aten.clone.default,
    aten.detach.default,
    aten.detach_.default,
    aten.alias.default,
    aten.lift_fresh_copy.default,
)
def _identity(walk: TorchWalk, node: torch.fx.Node) -> Position:
    return walk.input(node.args[0])


@converts(
    aten.dropout.default,
    aten.dropout_.default,
    aten.feature_dropout.default,
    aten.feature_dropout_.default,
    aten.alpha_dropout.default,
    aten.alpha_dropout_.default,
    aten.feature_alpha_dropout.default,
    aten.feature_alpha_dropout_.default,
)
def _dropout(walk: TorchWalk, node: torch.fx.Node) -> Position:
    if node.args[2] and node.args[1]:
        raise Refusal("dropout in train mode")
    return walk.input(node.args[0])


@converts(
    aten.to.dtype,
    aten.to.device,
    aten.to.dtype_layout,
    aten.to.other,
    aten._to_copy.default,
    aten.type_as.default,
)
def _cast(walk: TorchWalk, node: torch.fx.Node) -> Position:
    """To another place or precision; nothing is lost from float32 on."""
    dtype = node.meta["val"].dtype
    if dtype not in (torch.float32, torch.float64):
        raise Refusal(f"to {dtype}, which rounds; accepted: float32 and float64;")
    return walk.input(node.args[0])


@converts(aten.pad.default, aten.constant_pad_nd.default)
def _pad(walk: TorchWalk, node: torch.fx.Node) -> Position | list[Position]:
    constant = node.target is aten.constant_pad_nd.default
    amounts, *rest = arguments(node, 1, ([], 0.0) if constant else ([], "constant", None))
    mode, value = ("constant", rest[0]) if constant else rest
    if mode != "constant":
        return walk.rearrange(node)  # reflections and repetitions of the border
    x = walk.input(node.args[0])
    rank = len(walk.asm.shape(x))
    pairs = [(int(amounts[i]), int(amounts[i + 1])) for i in range(0, len(amounts), 2)]
    if len(pairs) > rank:
        raise Refusal("of the batch dimension")
    pairs = [(0, 0)] * (rank - len(pairs)) + pairs[::-1]
    before, after = zip(*pairs, strict=True)
    return walk.asm.add(walk.name(node), ops.Pad(before, after, float(value or 0.0)), x)


@converts(aten.mean.dim, aten.sum.dim_IntList)
def _reduce(walk: TorchWalk, node: torch.fx.Node) -> Position:
    dims, keep = arguments(node, 1, ([], False))
    mean = node.target is aten.mean.dim
    members = walk.position.get(node.args[0])  # type: ignore[arg-type]
    if isinstance(members, list):
        if list(dims) != [0] or keep:
            raise Refusal("of a stack along the batch dimension")
        total = reduce(partial(compose.add, walk.asm, walk.name(node)), members)
        share = torch.tensor(1 / len(members) if mean else 1.0)
        return compose.scale(walk.asm, walk.name(node), total, share, torch.tensor(0.0))
    return compose.reduce(walk.asm, walk.name(node), walk.input(node.args[0]), dims, keep, mean)


@converts(aten.maximum.default, aten.max.other, aten.minimum.default, aten.min.other)
def _extreme(walk: TorchWalk, node: torch.fx.Node) -> Position:
    largest = node.target in (aten.maximum.default, aten.max.other)
    left, right = node.args[:2]
    if walk.computed(left) and walk.computed(right):
        choose = compose.maximum if largest else compose.minimum
        return choose(walk.asm, walk.name(node), walk.input(left), walk.input(right))
    variable, constant = (left, right) if walk.computed(left) else (right, left)
    x = walk.input(variable)
    bound = _per_sample(walk.value(constant), walk.asm.shape(x))
    return compose.clamp(walk.asm, walk.name(node), x, bound if largest else None, None if largest else bound)


@converts(aten.clamp.default, aten.clamp_.default, aten.clamp_min.default, aten.clamp_max.default)
def _clamp(walk: TorchWalk, node: torch.fx.Node) -> Position:
    low, high = arguments(node, 1, (None, None))
    if node.target is aten.clamp_max.default:
        low, high = None, low
    sides = (walk.optional(low), walk.optional(high))
    return compose.clamp(walk.asm, walk.name(node), walk.input(node.args[0]), *sides)


@converts(aten.abs.default)
def _absolute(walk: TorchWalk, node: torch.fx.Node) -> Position:
    return walk.asm.add(walk.name(node), ops.Absolute(), walk.input(node.args[0]))


@converts(aten.neg.default)
def _negate(walk: TorchWalk, node: torch.fx.Node) -> Position:
    return compose.negate(walk.asm, walk.name(node), walk.input(node.args[0]))


@converts(
    aten.add.Tensor,
    aten.add_.Tensor,
    aten.sub.Tensor,
    aten.sub_.Tensor,
    aten.mul.Tensor,
    aten.mul_.Tensor,
    aten.div.Tensor,
    aten.div_.Tensor,
    aten.rsub.Scalar,
)
def _arithmetic(walk: TorchWalk, node: torch.fx.Node) -> Position:
    left, right = arguments(node, 0, ())
    kind = str(node.target).removeprefix("aten.").split(".")[0].removesuffix("_")
    if kind == "rsub":
        left, right, kind = right, left, "sub"
    name, asm = walk.name(node), walk.asm
    if walk.computed(left) and walk.computed(right):
        if kind not in ("add", "sub"):
            raise Refusal("of two computed values")
        return (compose.add if kind == "add" else compose.subtract)(asm, name, walk.input(left), walk.input(right))
    first = walk.computed(left)
    x = walk.input(left if first else right)
    constant = _per_sample(walk.value(right if first else left), asm.shape(x))
    one, zero = torch.tensor(1.0), torch.tensor(0.0)
    if kind == "div" and not first:
        raise Refusal("by a computed value")
    if kind == "div":
        return compose.divide(asm, name, x, constant)
    weight, bias = {
        "add": (one, constant),
        "sub": (one, -constant) if first else (-one, constant),
        "mul": (constant, zero),
    }[kind]
    return compose.scale(asm, name, x, weight, bias)


def _per_sample(constant: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A constant without its batch dimension."""
    if constant.dim() <= len(shape):
        return constant.to(torch.get_default_dtype())
    if not torch.equal(constant, constant[:1].expand_as(constant)):
        raise Refusal("with a constant that depends on the place in the batch")
    return constant[0].to(torch.get_default_dtype())
