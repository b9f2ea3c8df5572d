"""The exact minimum of a linear functional of a small network over a box, as a mixed-integer program."""

from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor

from calipers.bounds.propagation.interval import interval_bounds
from calipers.core.sets import Box
from calipers.graph.graph import Graph
from calipers.solve.program import widen
from calipers.verify.milp import encode


def exact_minimum(graph: Graph, lower: Tensor, upper: Tensor, row: Tensor) -> float:
    """min of row . f(x) over the box lower <= x <= upper of shape (*input shape).

    The constants of the program are plain intervals, which do not depend on the bounds under test.
    """
    box = Box(lower[None], upper[None])
    encoding = encode(graph, interval_bounds(graph, box), box)
    program, objective = encoding.program, encoding.outputs.row(row.numpy(), 0.0)
    found = milp(
        widen(objective.matrix, len(program.lower)).toarray()[0],
        integrality=program.integer.astype(int),
        bounds=Bounds(program.lower, program.upper),
        constraints=LinearConstraint(program.rows, program.row_lower, program.row_upper),
    )
    assert found.success, found.message
    return float(found.fun + objective.constant[0])
