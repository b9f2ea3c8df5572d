"""Inputs that a set leaves free, and the set seen through them alone."""

from functools import singledispatch

import torch
from jaxtyping import Int
from torch import Tensor

from calipers.bounds.rounding import input_bounds
from calipers.core.sets import Box, InputSet, LpBall


def free_inputs(input_set: InputSet) -> Int[Tensor, " inputs"]:
    """Flat indices of the inputs that are free in some set of the batch; the first one where none is."""
    bounds = input_bounds(input_set)
    free = (bounds.lower < bounds.upper).flatten(1).any(0).nonzero()[:, 0]
    return free if len(free) else torch.zeros(1, dtype=torch.long, device=free.device)


@singledispatch
def restrict(input_set: InputSet, free: Int[Tensor, " inputs"]) -> InputSet:
    """The sets of these inputs, (batch, inputs); all others have to be fixed."""
    raise TypeError(f"no restriction for {type(input_set).__name__}")


@restrict.register
def _(input_set: Box, free: Tensor) -> InputSet:
    return Box(input_set.lower.flatten(1)[:, free], input_set.upper.flatten(1)[:, free])


@restrict.register
def _(input_set: LpBall, free: Tensor) -> InputSet:
    center = input_set.center
    scale = input_set.scale.expand(center.shape[1:]).flatten()[free]
    return LpBall(center.flatten(1)[:, free], input_set.radius, input_set.norm, scale, input_set.domain)
