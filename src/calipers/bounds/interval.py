"""Interval bound propagation (Gowal et al. 2018): the transfer of intervals through each operation."""

from dataclasses import replace
from functools import singledispatch

import torch

from calipers.core.intervals import IntervalBounds
from calipers.core.sets import InputSet, is_box
from calipers.graph import ops
from calipers.graph.graph import Graph

# Operations of which every output is a function of one input.
_ByEntry = ops.Elementwise | ops.Scale | ops.Reshape | ops.Gather | ops.Pad | ops.Concat


@singledispatch
def transfer(op: ops.Op, *inputs: IntervalBounds) -> IntervalBounds:
    """The tightest interval that encloses the operation over the product of its input intervals.

    This default serves the operations that are monotone in every input.
    """
    lower, upper = (op.evaluate(*side) for side in ([b.lower for b in inputs], [b.upper for b in inputs]))
    return IntervalBounds(lower, upper)


@transfer.register
def _(op: ops.Weighted, *inputs: IntervalBounds) -> IntervalBounds:
    lower, upper = inputs[0].lower, inputs[0].upper
    middle, radius = (lower + upper) / 2, (upper - lower) / 2
    spread = replace(op, weight=op.weight.abs(), bias=torch.zeros_like(op.bias)).evaluate(radius)
    value = op.evaluate(middle)
    return IntervalBounds(value - spread, value + spread)


def interval_bounds(graph: Graph, input_set: InputSet) -> list[IntervalBounds]:
    """Interval bounds of every node over the box around each input set."""
    box = input_set.box()
    bounds = [IntervalBounds(box.lower, box.upper)]
    for node in graph.nodes[1:]:
        bounds.append(transfer(node.op, *(bounds[i] for i in node.inputs)))
    return bounds


def exact_nodes(graph: Graph, input_set: InputSet) -> set[int]:
    """Nodes whose interval is exact: over a box, those that at most one mixing operation precedes."""
    if not is_box(input_set):
        return {0}
    independent = {0}
    exact = {0}
    for position, node in enumerate(graph.nodes[1:], start=1):
        by_entry = isinstance(node.op, _ByEntry)
        if set(node.inputs) <= exact and by_entry:
            exact.add(position)
        if len(node.inputs) == 1 and node.inputs[0] in independent:
            exact.add(position)
            if by_entry and not _repeats(node.op):
                independent.add(position)
    return exact


def _repeats(op: ops.Op) -> bool:
    return isinstance(op, ops.Gather) and len(op.index.unique()) < op.index.numel()
