"""Several methods as one that proves whatever any of them proves."""

from dataclasses import dataclass

from calipers.bounds.budget import WorkBudget
from calipers.bounds.method import BoundMethod, MarginBounds
from calipers.bounds.propagation.linear import LinearBounds
from calipers.core.problem import Specification
from calipers.core.sets import InputSet
from calipers.graph.graph import Graph


@dataclass(frozen=True)
class Cascade:
    """The first method bounds every instance; each further one only those that are still unproven.

    There the better bound counts, row by row. So no instance that one of the methods proves alone stays unproven,
    and no unproven bound is looser than any of theirs, while proven instances cost the first method only.
    """

    name: str
    methods: tuple[BoundMethod, ...]

    def margins(
        self, graph: Graph, input_set: InputSet, specification: Specification, budget: WorkBudget
    ) -> MarginBounds:
        # Without maxpools some methods are the same.
        distinct = {m.on(graph) if isinstance(m, LinearBounds) else m: m for m in reversed(self.methods)}
        first, *others = reversed(distinct.values())
        best = first.margins(graph, input_set, specification, budget)
        lower = best.lower.clone()
        for method in others:
            left = (~(lower > 0).all(1)).nonzero()[:, 0]
            if not len(left):
                break
            found = method.margins(graph, input_set[left], specification[left], budget)
            lower[left] = MarginBounds(lower[left]).better(found).lower
        return MarginBounds(lower)
