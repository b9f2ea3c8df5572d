"""Concretizers: the extreme values of linear functionals over an input set."""

from functools import singledispatch

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.bounds.propagation.rows import Rows
from calipers.bounds.rounding import concretized
from calipers.core.intervals import IntervalBounds
from calipers.core.norms import Norm, flat, per_sample
from calipers.core.sets import Box, InputSet, LpBall


@singledispatch
def concretize(input_set: InputSet, rows: Rows) -> Float[Tensor, "sides groups rows"]:
    """Lower (side 0) and, if the rows carry it, upper bounds (side 1) of rows over their sets, rounding included."""
    raise TypeError(f"no concretizer for {type(input_set).__name__}")


@concretize.register
def _(input_set: Box, rows: Rows) -> Tensor:
    bounds = IntervalBounds(input_set.lower, input_set.upper)
    # What the sums round away costs as much as a wider box.
    slip = _error(bounds.size) * bounds.size + torch.finfo(bounds.size.dtype).tiny * (bounds.size > 0)
    return rows.extremes(bounds.middle, bounds.radius + slip)


@concretize.register
def _(input_set: LpBall, rows: Rows) -> Tensor:
    """Hoelder's inequality with the dual norm; in a cut ball the better of the ball and its box, which is sound."""
    box = concretize(input_set.box(), rows)
    if input_set.norm is Norm.LINF:
        return box
    reach = per_sample(input_set.radius, input_set.center) * input_set.scale
    weighted = rows.coefficient * rows.spread(reach.expand_as(input_set.center))
    center = rows.dot(rows.spread(input_set.center))
    rounding = rows.absolute().dot(rows.spread(_error(reach) * (input_set.center.abs() + reach)))
    ball = rows.around(center, input_set.norm.dual(weighted.flatten(2)) * (1 + _error(reach)) + rounding)
    tighter = [torch.maximum(box[0], ball[0]), torch.minimum(box[-1], ball[-1])]
    return torch.stack(tighter[: len(box)])


def enclose(input_set: InputSet, rows: Rows) -> tuple[Float[Tensor, "groups rows"], Float[Tensor, "groups rows"]]:
    """Lower and upper bounds of two-sided rows, whether or not their sides were split on the way."""
    values = concretize(input_set, rows)
    if not rows.mirrored:
        return values[0], values[1]
    half = values.shape[2] // 2
    return values[0, :, :half], -values[0, :, half:]


def _error(values: Tensor) -> float:
    return concretized(values[0].numel(), values.dtype)


@singledispatch
def lowest_point(input_set: InputSet, coefficient: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
    """A point of each set at which a linear functional is lowest; in a cut ball a low one."""
    raise TypeError(f"no concretizer for {type(input_set).__name__}")


@lowest_point.register
def _(input_set: Box, coefficient: Tensor) -> Tensor:
    return torch.where(coefficient > 0, input_set.lower, input_set.upper)


@lowest_point.register
def _(input_set: LpBall, coefficient: Tensor) -> Tensor:
    if input_set.norm is Norm.LINF:
        return lowest_point(input_set.box(), coefficient)
    weighted = coefficient * input_set.scale
    if input_set.norm is Norm.L1:
        steepest = torch.zeros_like(flat(weighted)).scatter_(1, flat(weighted).abs().argmax(1, keepdim=True), 1.0)
        direction = weighted.sign() * steepest.reshape(weighted.shape)
    else:
        size = flat(weighted).norm(dim=1).clamp_min(torch.finfo(weighted.dtype).tiny)
        direction = weighted / per_sample(size, weighted)
    reach = per_sample(input_set.radius, direction) * input_set.scale
    return input_set.project(input_set.center - reach * direction)
