"""Interval bound propagation as a method: the cheapest sound bound (Gowal et al. 2018)."""

from dataclasses import dataclass

import torch

from calipers.bounds.backward import pull_back
from calipers.bounds.budget import MemoryBudget
from calipers.bounds.concretize import concretize, magnitude
from calipers.bounds.interval import interval_bounds
from calipers.bounds.method import MarginBounds
from calipers.bounds.start import specification_rows
from calipers.core.problem import Specification
from calipers.core.sets import Box, InputSet
from calipers.graph import ops
from calipers.graph.graph import Graph

_ULPS = 64


@dataclass(frozen=True)
class IntervalPropagation:
    """Intervals up to the last nonlinearity; the affine tail and the specification are taken as one."""

    name: str = "ibp"

    def margins(
        self, graph: Graph, input_set: InputSet, specification: Specification, budget: MemoryBudget
    ) -> MarginBounds:
        graph.require_order(specification.C, specification.d)
        intervals = interval_bounds(graph, input_set)
        nonlinear = {i for i, node in enumerate(graph.nodes) if isinstance(node.op, ops.Nonlinear)}
        rows = specification_rows(specification.C, specification.d)
        reached = pull_back(graph, graph.output, rows, {}, stop=nonlinear | {0})
        lower = torch.zeros_like(specification.d)
        slack = torch.zeros_like(specification.d)
        for position, part in reached.items():
            box = Box(intervals[position].lower, intervals[position].upper)
            lower = lower + concretize(box, part)[0]
            slack = slack + _ULPS * torch.finfo(lower.dtype).eps * magnitude(box, part)
        return MarginBounds(lower, slack)


IBP = IntervalPropagation()
