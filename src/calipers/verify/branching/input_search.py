"""Branch and bound over the inputs themselves: boxes are halved until each is proven, for networks with few inputs."""

import math
from dataclasses import dataclass
from typing import Any

from calipers.bounds import FORWARD, ForwardBounds
from calipers.bounds.budget import WorkBudget
from calipers.bounds.propagation.linear import FUSED, LinearBounds
from calipers.bounds.work import pass_work, walk_work
from calipers.core.problem import Problem, Specification
from calipers.core.sets import Box, InputSet, is_box
from calipers.graph.graph import Graph
from calipers.verify.branching.box_bounds import BoxBounds, bound_boxes, bound_boxes_forward
from calipers.verify.branching.halvings import Known
from calipers.verify.branching.journal import Journal
from calipers.verify.branching.open_boxes import Batches, Bound, OpenBoxes
from calipers.verify.branching.open_list import branch_and_bound
from calipers.verify.branching.result import SearchResult
from calipers.verify.branching.ties import TieWatch

# Free inputs with which a pass forward can be enough times faster.
_FEW = 3
# Multiplications for a batch of boxes: the time between two looks at the clock.
_TURN = 2e9


@dataclass(frozen=True)
class InputSearch:
    """base: bounds every box anew. most: inputs that are not fixed; with more of them halving boxes leads nowhere.

    quick: takes its place where it is so much cheaper that looser bounds pay, and no evidence is asked for.
    """

    base: LinearBounds = FUSED
    quick: ForwardBounds = FORWARD
    most: int = 20

    @property
    def parameters(self) -> dict[str, Any]:
        return {"base": self.base.name, "quick": self.quick.name, "most": self.most}

    def suits(self, input_set: InputSet) -> bool:
        """Whether a set is a box with few enough inputs to halve."""
        box = input_set.box()
        return is_box(input_set) and int((box.lower < box.upper).sum()) <= self.most

    def run(
        self,
        graph: Graph,
        problem: Problem,
        rows: list[int],
        budget: WorkBudget,
        journal: Journal | None = None,
    ) -> SearchResult:
        """Prove that `rows` of the one instance are positive on its box, or find an input where one is not.

        Bounds only rise, so a search that is out of time has proven what it has proven. journal: takes down every
        proven box. Raises OutOfTimeError where the time is up within the first.
        """
        box = problem.input_set.box()
        asked = Specification(problem.specification.C[:, rows], problem.specification.d[:, rows])
        widest = max(math.prod(node.shape) for node in graph.nodes)
        if budget.left <= 0:
            return SearchResult(dict.fromkeys(rows, -math.inf), None, 0, False)
        start = self.base.propagate(graph, problem.input_set, budget)
        work = walk_work(start)
        most = max(1, min(budget.fit(widest * widest * asked.d.element_size()), int(_TURN / max(1, work))))
        kept = box.lower.numel() + sum(math.prod(node.shape) for node in graph.nodes)
        room = budget.bytes // (2 * kept * box.lower.element_size())
        inputs = int((box.lower < box.upper).sum())
        # Looser bounds want boxes of about a quarter of the side.
        cheap = journal is None and inputs <= _FEW and work >= 4**inputs * pass_work(graph, inputs)
        bound = self._bound(graph, budget, quick=cheap)
        boxes = OpenBoxes(graph, box, asked, rows, bound, Batches(most, room), journal)
        return branch_and_bound(boxes, TieWatch(graph, asked, budget, self.base), budget)

    def _bound(self, graph: Graph, budget: WorkBudget, quick: bool) -> Bound:
        """What bounds boxes: walks, or one pass forward."""

        def walked(boxes: Box, rows: Specification, known: Known) -> BoxBounds:
            return bound_boxes(self.base, graph, boxes, rows, budget, known)

        def passed(boxes: Box, rows: Specification, known: Known) -> BoxBounds:
            return bound_boxes_forward(self.quick, graph, boxes, rows, budget)

        return passed if quick else walked
