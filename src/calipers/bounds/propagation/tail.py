"""What follows the last nonlinearities, together with the specification: one affine map."""

from collections.abc import Mapping

from torch import Tensor

from calipers.bounds.method import MarginBounds
from calipers.bounds.propagation.backsubstitution import backsubstitute
from calipers.bounds.propagation.concretize import concretize
from calipers.bounds.propagation.rows import Rows
from calipers.bounds.propagation.start import specification_rows
from calipers.core.intervals import IntervalBounds
from calipers.core.problem import Specification
from calipers.core.sets import Box
from calipers.graph import ops
from calipers.graph.graph import Graph


def last_nonlinear(graph: Graph) -> set[int]:
    """Positions of the nonlinearities, or of the input, that the output is an affine function of."""
    found, pending = set(), {graph.output}
    while pending:
        position = pending.pop()
        op = graph.nodes[position].op
        if isinstance(op, ops.Affine):
            pending.update(graph.nodes[position].inputs)
        else:
            found.add(position)
    return found


def tail(graph: Graph, specification: Specification, outputs: IntervalBounds, noise: Tensor) -> dict[int, Rows]:
    """The rows of a specification over the last nonlinearities, by position, or over the input.

    outputs, noise: of the output.
    """
    nonlinear = {i for i, node in enumerate(graph.nodes) if isinstance(node.op, ops.Nonlinear)}
    rows = specification_rows(specification, outputs)
    return backsubstitute(graph, graph.output, rows, {}, noise, stop=nonlinear | {0})


def tail_margins(reached: Mapping[int, Rows], intervals: Mapping[int, IntervalBounds]) -> MarginBounds:
    """What intervals of the nodes that the tail has reached say of the rows."""
    lower = intervals[min(reached)].lower.new_zeros(())
    for position, part in reached.items():
        box = Box(intervals[position].lower, intervals[position].upper)
        lower = lower + concretize(box, part)[0]
    return MarginBounds(lower)
