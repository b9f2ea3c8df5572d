"""Branch and bound over the inputs themselves: boxes are halved until each is proven, for networks with few inputs."""

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.bounds import FORWARD, ForwardBounds
from calipers.bounds.budget import OutOfTimeError, WorkBudget
from calipers.bounds.propagation.linear import FUSED, LinearBounds
from calipers.bounds.work import pass_work, walk_work
from calipers.check import Halving
from calipers.core.intervals import IntervalBounds
from calipers.core.problem import Problem, Specification
from calipers.core.sets import Box, InputSet, is_box
from calipers.graph.graph import Graph
from calipers.verify.branching.box_bounds import BoxBounds, bound_boxes, bound_boxes_forward
from calipers.verify.branching.journal import Journal
from calipers.verify.branching.result import SearchResult
from calipers.verify.branching.ties import TieWatch

Known = dict[int, IntervalBounds]
Bound = Callable[[Box, Specification, Known], BoxBounds]

# Free inputs with which a pass forward can be enough times faster.
_FEW = 3
# Boxes that cost little more than one, since so few of them keep no processor busy.
_FILL = 32
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
        batch = 1
        kept = box.lower.numel() + sum(math.prod(node.shape) for node in graph.nodes)
        room = budget.bytes // (2 * kept * box.lower.element_size())
        inputs = int((box.lower < box.upper).sum())
        # Looser bounds want boxes of about a quarter of the side.
        cheap = journal is None and inputs <= _FEW and work >= 4**inputs * pass_work(graph, inputs)
        bound = self._bound(graph, budget, quick=cheap)
        halvings = _Halvings()
        nothing = torch.full_like(asked.d, -torch.inf)
        open_ = _Open(box.lower, box.upper, nothing, torch.zeros(1, dtype=torch.long, device=asked.d.device), {})
        stuck = open_[:0]
        bounded = 0
        ties = TieWatch(graph, asked, budget, self.base)
        while len(open_) and budget.left > 0:
            if ties.over(bounded):
                stuck, open_ = stuck.joined(open_), open_[:0]
                break
            # The worst boxes first; once they fill the memory, those that are nearly proven.
            taken, open_ = open_.take(batch, worst=len(open_) < room)
            boxes = Box(taken.lower, taken.upper)
            try:
                bounds = bound(boxes, _each(asked, len(boxes)), taken.known)
            except OutOfTimeError:
                open_ = open_.joined(taken)
                break
            bounded += len(boxes)
            point, margin = _lowest(graph, asked, bounds)
            if margin <= 0:
                return SearchResult({}, point, bounded, False)
            ties.met(point, margin, bounded)
            proven = bounds.lower > 0
            done = proven.all(1)
            if journal is not None:
                journal.boxes([halvings.path(k) for k in taken.place[done].tolist()], bounds.planes, done)
            best = torch.maximum(taken.bound, bounds.lower.nan_to_num(-torch.inf))
            # Evidence for a box has to stand alone.
            known = {} if journal is not None else dict(bounds.known)
            left = _Open(taken.lower, taken.upper, best, taken.place, known)[~done]
            blame = bounds.looseness[~done] * ~proven[~done].unsqueeze(2)
            halves, whole = halvings.halve(left, blame, _FILL - len(open_))
            open_, stuck = open_.joined(halves), stuck.joined(whole)
            batch = min(max(2 * batch, _FILL), most)
        left = stuck.joined(open_)
        lowest = left.bound.amin(0) if len(left) else asked.d.new_full((len(rows),), torch.inf)
        return SearchResult(dict(zip(rows, lowest.tolist(), strict=True)), None, bounded, not len(open_))

    def _bound(self, graph: Graph, budget: WorkBudget, quick: bool) -> Bound:
        """What bounds boxes: walks, or one pass forward."""

        def walked(boxes: Box, rows: Specification, known: Known) -> BoxBounds:
            return bound_boxes(self.base, graph, boxes, rows, budget, known)

        def passed(boxes: Box, rows: Specification, known: Known) -> BoxBounds:
            return bound_boxes_forward(self.quick, graph, boxes, rows, budget)

        return passed if quick else walked


@dataclass(frozen=True, eq=False)
class _Open:
    """Boxes, with a lower bound of every row on each, and their places in the tree of halvings.

    known: intervals of nodes that hold on each box, where they were kept.
    """

    lower: Tensor
    upper: Tensor
    bound: Tensor
    place: Tensor
    known: Known

    def __len__(self) -> int:
        return len(self.lower)

    def __getitem__(self, index: Tensor | slice) -> "_Open":
        known = {i: bounds.at(index) for i, bounds in self.known.items()}
        return _Open(self.lower[index], self.upper[index], self.bound[index], self.place[index], known)

    def joined(self, other: "_Open") -> "_Open":
        if not len(self) or not len(other):
            return self if len(self) else other
        return _Open(
            torch.cat([self.lower, other.lower]),
            torch.cat([self.upper, other.upper]),
            torch.cat([self.bound, other.bound]),
            torch.cat([self.place, other.place]),
            {i: bounds.joined(other.known[i]) for i, bounds in self.known.items()},
        )

    def take(self, count: int, worst: bool) -> tuple["_Open", "_Open"]:
        """Some boxes by their least bound, and the others."""
        if count >= len(self):
            return self, self[:0]
        index = self.bound.amin(1).topk(count, largest=not worst).indices
        others = torch.ones(len(self), dtype=torch.bool, device=index.device)
        others[index] = False
        return self[index], self[others]


class _Halvings:
    """The tree of halvings. The whole set has place 0; a halving gives its two halves the next places, low first."""

    def __init__(self) -> None:
        self._parent: list[Tensor] = [torch.zeros(1, dtype=torch.long, device="cpu")]
        self._axis = list(self._parent)
        self._cut: list[Tensor] = [torch.zeros(1, device="cpu")]
        self._first = [0]

    def halve(self, boxes: _Open, blame: Float[Tensor, "batch rows inputs"], fill: int) -> tuple[_Open, _Open]:
        """Halves at the input with most of the blame; and the boxes that cannot be halved, or need not be.

        Halves are halved again while they are no more than `fill`; each has half the blame at the input it was cut at.
        """
        halves, whole, blame = self._halve(boxes, blame)
        while 0 < 2 * len(halves) <= fill:
            again, ends, blame = self._halve(halves, blame)
            if not len(again):
                break
            halves = again.joined(ends)
            if len(ends):
                break
        return halves, whole

    def _halve(
        self, boxes: _Open, blame: Float[Tensor, "batch rows inputs"]
    ) -> tuple[_Open, _Open, Float[Tensor, "halves rows inputs"]]:
        """Halves, the boxes that are left whole, and the blame of the halves."""
        low, high = boxes.lower.flatten(1), boxes.upper.flatten(1)
        middle = low / 2 + high / 2
        most = blame.amax(1).masked_fill(~((low < middle) & (middle < high)), 0.0)
        can = most.amax(1) > 0
        whole, boxes, low, high = boxes[~can], boxes[can], low[can], high[can]
        axis = most[can].argmax(1, keepdim=True)
        cut = middle[can].gather(1, axis)
        first = self._first[-1] + len(self._parent[-1])
        for kept, new in ((self._parent, boxes.place), (self._axis, axis[:, 0]), (self._cut, cut[:, 0])):
            kept.append(torch.cat([new, new]).cpu())
        self._first.append(first)
        place = first + torch.arange(2 * len(boxes), device=low.device)
        shape = boxes.lower.shape
        left, right = place[: len(boxes)], place[len(boxes) :]
        below = _Open(boxes.lower, high.scatter(1, axis, cut).reshape(shape), boxes.bound, left, boxes.known)
        above = _Open(low.scatter(1, axis, cut).reshape(shape), boxes.upper, boxes.bound, right, boxes.known)
        rest = blame[can]
        rest = rest.scatter(2, axis.unsqueeze(1).expand(-1, rest.shape[1], -1), 0.5, reduce="multiply")
        return below.joined(above), whole, rest.repeat(2, 1, 1)

    def path(self, place: int) -> tuple[Halving, ...]:
        """The cuts that lead from the whole set to a box."""
        steps: list[Halving] = []
        while place:
            batch = bisect.bisect_right(self._first, place) - 1
            k = place - self._first[batch]
            high = k >= len(self._parent[batch]) // 2
            steps.append(Halving(int(self._axis[batch][k]), float(self._cut[batch][k]), high))
            place = int(self._parent[batch][k])
        return tuple(reversed(steps))


def _each(rows: Specification, boxes: int) -> Specification:
    return Specification(rows.C.expand(boxes, -1, -1), rows.d.expand(boxes, -1))


def _lowest(graph: Graph, asked: Specification, bounds: BoxBounds) -> tuple[Tensor, float]:
    """The point with the least margin among those that attain the bounds, and that margin."""
    points = bounds.lowest.flatten(0, 1)
    outputs = graph.evaluate(points)
    margin = (outputs @ asked.C[0].T + asked.d[0]).amin(1)
    worst = int(margin.argmin())
    return points[worst : worst + 1], float(margin[worst])
