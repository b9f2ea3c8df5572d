"""Interval bound propagation as a method: the cheapest sound bound (Gowal et al. 2018)."""

from dataclasses import dataclass

from calipers.bounds.budget import WorkBudget
from calipers.bounds.method import MarginBounds
from calipers.bounds.propagation.interval import interval_bounds
from calipers.bounds.propagation.tail import tail, tail_margins
from calipers.bounds.rounding import noises
from calipers.core.problem import Specification
from calipers.core.sets import InputSet
from calipers.graph.graph import Graph


@dataclass(frozen=True)
class IntervalPropagation:
    """Intervals up to the last nonlinearity; the affine tail and the specification are taken as one."""

    name: str = "ibp"

    def margins(
        self, graph: Graph, input_set: InputSet, specification: Specification, budget: WorkBudget
    ) -> MarginBounds:
        graph.require_order(specification.C, specification.d)
        intervals = interval_bounds(graph, input_set)
        reached = tail(graph, specification, intervals[graph.output], noises(graph, intervals)[graph.output])
        return tail_margins(reached, dict(enumerate(intervals)))


IBP = IntervalPropagation()
