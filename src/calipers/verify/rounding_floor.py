"""Points at which a row is positive by no more than rounding: no proof can pass there, however long a search is."""

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.core.problem import Specification
from calipers.graph.graph import Graph
from calipers.graph.rounding import forward_errors

# Bounds charge for more than what rounds at one point; below so many times that, a row may be broken in earnest.
_SLACK = 4.0


def floor_at(graph: Graph, asked: Specification, point: Float[Tensor, "1 *shape"]) -> Float[Tensor, " rows"]:
    """By how much evaluations may be off in every row that is positive by no more than that at a point; 0 elsewhere.

    asked: of one instance. Where it is positive, VERIFIED is out of reach: it speaks of every evaluation.
    """
    margin = asked.margins(graph.evaluate(point))[0]
    error = asked.C[0].abs() @ forward_errors(graph, point)[graph.output][0].to(asked.C)
    return torch.where((margin > 0) & (margin <= error), error, 0.0)


def settled(floor: Float[Tensor, " rows"], bounds: Float[Tensor, "open rows"]) -> bool:
    """Whether all that is left open, by lower bounds of every row, is within rounding of the floor."""
    return bool(((bounds > 0) | (bounds >= -_SLACK * floor)).all())
