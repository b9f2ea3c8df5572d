"""Double precision where single precision is too coarse to tell: by itself, for the instances that need it."""

import torch
from torch import Tensor

from calipers.bounds.budget import WorkBudget
from calipers.bounds.method import BoundMethod, MarginBounds
from calipers.bounds.rounding import input_bounds, rounded_down
from calipers.core.norms import Norm
from calipers.core.problem import Problem, Specification
from calipers.core.sets import Box, InputSet, LpBall
from calipers.graph.graph import Graph
from calipers.graph.rounding import SINGLE

# What the rounding of bounds in single precision costs is far below this share of what a row adds up.
_NEAR = 2.0**-9


def refined_margins(
    method: BoundMethod, graph: Graph, input_set: InputSet, specification: Specification, budget: WorkBudget
) -> MarginBounds:
    """The method's bounds; instances with a row just short of a proof are bounded again in double precision."""
    found = method.margins(graph, input_set, specification, budget)
    if found.lower.dtype == torch.float64:
        return found
    near = (found.lower <= 0) & (found.lower > -_NEAR * _scale(graph, input_set, specification))
    decided = (found.lower > 0) | near
    again = (near.any(1) & decided.all(1)).nonzero()[:, 0]
    if not len(again):
        return found
    asked = specification[again]
    exact = Specification(asked.C.double(), asked.d.double())
    finer = method.margins(graph.to(torch.float64), in_double(input_set[again]), exact, budget).lower
    lower = found.lower.clone()
    lower[again] = found[again].better(MarginBounds(rounded_down(finer, lower.dtype))).lower
    return MarginBounds(lower)


def doubled(problem: Problem) -> Problem:
    """A problem in double precision."""
    asked = problem.specification
    exact = Specification(asked.C.double(), asked.d.double())
    return Problem(problem.model_digest, problem.sample_id, in_double(problem.input_set), exact)


def in_double(input_set: InputSet) -> InputSet:
    """A set in double precision that holds the given one, whose radius has been rounded to single precision."""
    if isinstance(input_set, LpBall) and input_set.norm is not Norm.LINF:
        radius = input_set.radius.double() * (1 + 4 * SINGLE)
        return LpBall(input_set.center.double(), radius, input_set.norm, input_set.scale.double(), input_set.domain)
    box = input_bounds(input_set)
    return Box(box.lower.double(), box.upper.double())


def _scale(graph: Graph, input_set: InputSet, specification: Specification) -> Tensor:
    """What each row adds up at the centre, in absolute values."""
    outputs = graph.evaluate(input_set.center).abs()
    return torch.einsum("brc,bc->br", specification.C.abs(), outputs) + specification.d.abs()
