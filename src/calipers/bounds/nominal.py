"""Bounds in exact arithmetic, without any allowance for rounding: losses of training. They prove nothing.

Everything is differentiable in the constants of the graph, which `graph.live` takes from a module's parameters.
Verifiers do not come here: they use `interval_bounds` and `BoundMethod`s.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.bounds.propagation.backsubstitution import backsubstitute
from calipers.bounds.propagation.concretize import concretize
from calipers.bounds.propagation.interval import extremes
from calipers.bounds.propagation.linear import LinearBounds
from calipers.bounds.propagation.rows import Rows
from calipers.core.intervals import IntervalBounds
from calipers.core.problem import Specification
from calipers.core.sets import Box, InputSet
from calipers.graph import ops
from calipers.graph.graph import Graph


def nominal_intervals(graph: Graph, input_set: InputSet) -> list[IntervalBounds]:
    """Interval bounds of every node over the box around each input set (Gowal et al. 2018, equations 6 to 8)."""
    box = input_set.box()
    bounds = [IntervalBounds(box.lower, box.upper)]
    for node in graph.nodes[1:]:
        bounds.append(extremes(node.op, *(bounds[i] for i in node.inputs)))
    return bounds


def nominal_interval_margins(
    graph: Graph, intervals: Sequence[IntervalBounds], specification: Specification
) -> Float[Tensor, "batch rows"]:
    """Lower bounds of C f + d; the affine layers after the last nonlinearities and the rows are taken as one map."""
    nonlinear = {i for i, node in enumerate(graph.nodes) if isinstance(node.op, ops.Nonlinear)}
    reached = backsubstitute(graph, graph.output, _rows(specification), {}, None, stop=nonlinear | {0})
    parts = [concretize(Box(intervals[i].lower, intervals[i].upper), part)[0] for i, part in reached.items()]
    return torch.stack(parts).sum(0)


def nominal_linear_margins(
    method: LinearBounds,
    graph: Graph,
    intervals: Sequence[IntervalBounds],
    input_set: InputSet,
    specification: Specification,
) -> Float[Tensor, "batch rows"]:
    """Lower bounds of C f + d by one walk back to the input, with the method's planes over the intervals."""
    planes = {
        position: method.relax(node.op, intervals[node.inputs[0]]).channels_last()
        for position, node in enumerate(graph.nodes)
        if isinstance(node.op, ops.Nonlinear)
    }
    reached = backsubstitute(graph, graph.output, _rows(specification), planes, None)
    return concretize(input_set, reached[0])[0]


def _rows(specification: Specification) -> Rows:
    C, d = specification.C, specification.d
    return Rows(C, d.unsqueeze(0), torch.arange(len(C), device=C.device), None, (C.shape[-1],))
