"""Interval bound propagation (Gowal et al. 2018): the transfer of intervals through each operation."""

from functools import singledispatch

import torch.nn.functional as F
from torch import Tensor

from calipers.core.intervals import IntervalBounds
from calipers.core.sets import InputSet
from calipers.graph import ops
from calipers.graph.graph import Graph


@singledispatch
def transfer(op: ops.Op, *inputs: IntervalBounds) -> IntervalBounds:
    """The tightest interval that encloses the operation over the product of its input intervals.

    This default serves the operations that are monotone in every input.
    """
    lower, upper = (op.evaluate(*side) for side in ([b.lower for b in inputs], [b.upper for b in inputs]))
    return IntervalBounds(lower, upper)


@transfer.register
def _(op: ops.Linear, *inputs: IntervalBounds) -> IntervalBounds:
    middle, radius = _middle(inputs[0])
    return _around(F.linear(middle, op.weight, op.bias), F.linear(radius, op.weight.abs()))


@transfer.register
def _(op: ops.Conv2d, *inputs: IntervalBounds) -> IntervalBounds:
    middle, radius = _middle(inputs[0])
    spread = F.conv2d(radius, op.weight.abs(), None, op.stride, op.padding, op.dilation, op.groups)
    return _around(op.evaluate(middle), spread)


@transfer.register
def _(op: ops.Scale, *inputs: IntervalBounds) -> IntervalBounds:
    middle, radius = _middle(inputs[0])
    return _around(op.evaluate(middle), radius * op.weight.abs())


def interval_bounds(graph: Graph, input_set: InputSet) -> list[IntervalBounds]:
    """Interval bounds of every node over the box around each input set."""
    box = input_set.box()
    bounds = [IntervalBounds(box.lower, box.upper)]
    for node in graph.nodes[1:]:
        bounds.append(transfer(node.op, *(bounds[i] for i in node.inputs)))
    return bounds


def exact_nodes(graph: Graph) -> set[int]:
    """Nodes whose interval over a box is exact, because at most one mixing operation precedes them."""
    independent = {0}
    exact = {0}
    for position, node in enumerate(graph.nodes[1:], start=1):
        if set(node.inputs) <= independent and len(set(node.inputs)) == len(node.inputs):
            exact.add(position)
            if isinstance(node.op, ops.Scale | ops.Relu | ops.Reshape):
                independent.add(position)
        elif set(node.inputs) <= exact and isinstance(node.op, ops.Reshape | ops.Relu | ops.Scale):
            exact.add(position)
    return exact


def _middle(bounds: IntervalBounds) -> tuple[Tensor, Tensor]:
    return (bounds.lower + bounds.upper) / 2, (bounds.upper - bounds.lower) / 2


def _around(middle: Tensor, radius: Tensor) -> IntervalBounds:
    return IntervalBounds(middle - radius, middle + radius)
