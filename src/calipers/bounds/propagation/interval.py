"""Interval bound propagation (Gowal et al. 2018): the transfer of intervals through each operation."""

from functools import singledispatch

import torch
import torch.nn.functional as F

from calipers.bounds.rounding import input_bounds, interval_rows, rounded_down, widened
from calipers.core.intervals import IntervalBounds
from calipers.core.problem import Specification
from calipers.core.sets import InputSet, is_box
from calipers.graph import ops
from calipers.graph.graph import Graph

# Operations of which every output is a function of one input.
_ByEntry = ops.Elementwise | ops.PerEntry | ops.Reshape | ops.Gather | ops.Pad | ops.Concat


def transfer(op: ops.Op, *inputs: IntervalBounds) -> IntervalBounds:
    """The tightest interval that encloses every evaluation of the operation over the product of its input intervals."""
    return widened(op, inputs, extremes(op, *inputs))


@singledispatch
def extremes(op: ops.Op, *inputs: IntervalBounds) -> IntervalBounds:
    """The interval but for rounding. This default serves the operations that are monotone in every input."""
    lower, upper = (op.evaluate(*side) for side in ([b.lower for b in inputs], [b.upper for b in inputs]))
    return IntervalBounds(lower, upper)


@extremes.register
def _(op: ops.Weighted, *inputs: IntervalBounds) -> IntervalBounds:
    return _around_middle(op, inputs[0])


def _around_middle(op: ops.Weighted, given: IntervalBounds) -> IntervalBounds:
    spread = ops.linear_part(ops.absolute(op)).evaluate(given.radius)
    value = ops.weighted(op, op.weight, op.bias).evaluate(given.middle)
    return IntervalBounds(value - spread, value + spread)


@extremes.register
def _(op: ops.Linear, *inputs: IntervalBounds) -> IntervalBounds:
    """By middle and radius; what only copies its input, by the ends themselves, which are not rounded then."""
    found, copies = _around_middle(op, inputs[0]), op.copies(inputs[0].size)
    if not bool(copies.any()):
        return found
    low, high = inputs[0].lower, inputs[0].upper
    # In double precision, since a power of two loses digits of numbers that become too small.
    weight, bias = op.weight.double(), op.bias.double()
    above, below = (
        rounded_down(
            F.linear((sign * one).double(), weight.clamp(min=0), sign * bias)
            + F.linear((sign * two).double(), weight.clamp(max=0)),
            low.dtype,
        )
        for sign, one, two in ((1, low, high), (-1, high, low))
    )
    return IntervalBounds(above.where(copies, found.lower), (-below).where(copies, found.upper))


@extremes.register
def _(op: ops.ExactRows, *inputs: IntervalBounds) -> IntervalBounds:
    rows, count = op.exact_weight.unsqueeze(0), len(inputs[0].lower)
    low, high = (
        interval_rows(
            Specification((sign * rows).expand(count, -1, -1), (sign * op.exact_bias).expand(count, -1)), inputs[0]
        )
        for sign in (1, -1)
    )
    return IntervalBounds(low, -high)


@extremes.register
def _(op: ops.LeakyRelu | ops.Absolute, *inputs: IntervalBounds) -> IntervalBounds:
    """The ends, and 0 where it lies between them."""
    lower, upper = inputs[0].lower, inputs[0].upper
    places = (lower, upper, torch.zeros_like(lower).maximum(lower).minimum(upper))
    values = torch.stack([op.evaluate(place) for place in places])
    return IntervalBounds(values.amin(0), values.amax(0))


def interval_bounds(graph: Graph, input_set: InputSet) -> list[IntervalBounds]:
    """Interval bounds of every node over the box around each input set."""
    bounds = [input_bounds(input_set)]
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
