"""Branch and bound over the inputs themselves: boxes are halved until each is proven, for networks with few inputs."""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from calipers.bounds.boxes import BoxBounds, bound_boxes
from calipers.bounds.budget import MemoryBudget
from calipers.bounds.linear import FUSED, LinearBounds
from calipers.core.problem import Problem, Specification
from calipers.core.sets import Box, InputSet, is_box
from calipers.graph.graph import Graph
from calipers.verify.found import Found


@dataclass(frozen=True)
class InputSearch:
    """base: bounds every box anew. most: inputs that are not fixed; with more of them halving boxes leads nowhere."""

    base: LinearBounds = FUSED
    most: int = 20

    @property
    def parameters(self) -> dict[str, Any]:
        return {"base": self.base.name, "most": self.most}

    def suits(self, input_set: InputSet) -> bool:
        """Whether a set is a box with few enough inputs to halve."""
        box = input_set.box()
        return is_box(input_set) and int((box.lower < box.upper).sum()) <= self.most

    def run(self, graph: Graph, problem: Problem, rows: list[int], budget: MemoryBudget, deadline: float) -> Found:
        """Prove that `rows` of the one instance are positive on its box, or find an input where one is not.

        deadline: on the clock of time.monotonic. Bounds only rise, so a stopped search has proven what it has proven.
        """
        box = problem.input_set.box()
        asked = Specification(problem.specification.C[:, rows], problem.specification.d[:, rows])
        widest = max(sum(node.shape) for node in graph.nodes)
        batch = max(16, budget.fit(widest * widest * asked.d.element_size()))
        room = budget.bytes // (2 * box.lower.numel() * box.lower.element_size())
        open_, stuck = _Open.of(box, asked), _Open.of(box, asked)[:0]
        bounded = 0
        while len(open_) and time.monotonic() < deadline:
            # The worst boxes first; once they fill the memory, those that are nearly proven.
            taken, open_ = open_.take(batch, worst=len(open_) < room)
            boxes = Box(taken.lower, taken.upper)
            asked_each = Specification(asked.C.expand(len(boxes), -1, -1), asked.d.expand(len(boxes), -1))
            bounds = bound_boxes(self.base, graph, boxes, asked_each, budget)
            bounded += len(boxes)
            witness = _witness(graph, asked, bounds)
            if witness is not None:
                return Found({}, witness, bounded, False)
            halves, whole = taken.halved(bounds)
            open_, stuck = open_.joined(halves), stuck.joined(whole)
        left = stuck.joined(open_)
        lowest = left.bound.amin(0) if len(left) else torch.full((len(rows),), torch.inf)
        return Found(dict(zip(rows, lowest.tolist(), strict=True)), None, bounded, not len(open_))


@dataclass(frozen=True, eq=False)
class _Open:
    """Boxes with what is known of every row on each; infinite where the row is proven."""

    lower: Tensor
    upper: Tensor
    bound: Tensor

    @classmethod
    def of(cls, box: Box, asked: Specification) -> "_Open":
        return cls(box.lower, box.upper, torch.full_like(asked.d, -torch.inf))

    def __len__(self) -> int:
        return len(self.lower)

    def __getitem__(self, index: Tensor | slice) -> "_Open":
        return _Open(self.lower[index], self.upper[index], self.bound[index])

    def joined(self, other: "_Open") -> "_Open":
        return _Open(*(torch.cat([getattr(self, n), getattr(other, n)]) for n in ("lower", "upper", "bound")))

    def take(self, count: int, worst: bool) -> tuple["_Open", "_Open"]:
        """Some boxes by their least bound, and the others."""
        if count >= len(self):
            return self, self[:0]
        index = self.bound.amin(1).topk(count, largest=not worst).indices
        others = torch.ones(len(self), dtype=torch.bool)
        others[index] = False
        return self[index], self[others]

    def halved(self, bounds: BoxBounds) -> tuple["_Open", "_Open"]:
        """What is unproven, in halves; and boxes that cannot be halved any more."""
        proven = (bounds.lower > bounds.slack) | (self.bound == torch.inf)
        known = torch.maximum(self.bound, bounds.lower).masked_fill(proven, torch.inf)
        left = ~proven.all(1)
        open_ = _Open(self.lower, self.upper, known)[left]
        blame = bounds.looseness[left].masked_fill(proven[left].unsqueeze(2), 0.0).amax(1)
        low, high = open_.lower.flatten(1), open_.upper.flatten(1)
        middle = low / 2 + high / 2
        splittable = (low < middle) & (middle < high)
        axis = blame.masked_fill(~splittable, -1.0).argmax(1, keepdim=True)
        cut = middle.gather(1, axis)
        shape = open_.lower.shape
        below = _Open(open_.lower, high.scatter(1, axis, cut).reshape(shape), open_.bound)
        above = _Open(low.scatter(1, axis, cut).reshape(shape), open_.upper, open_.bound)
        can = splittable.any(1) & (blame.amax(1) > 0)
        return below[can].joined(above[can]), open_[~can]


def _witness(graph: Graph, asked: Specification, bounds: BoxBounds) -> Tensor | None:
    """The point with the least margin among those that attain the bounds, if it breaks the specification."""
    points = bounds.lowest.flatten(0, 1)
    outputs = graph.evaluate(points)
    margin = (outputs @ asked.C[0].T + asked.d[0]).amin(1)
    worst = int(margin.argmin())
    return points[worst : worst + 1] if margin[worst] <= 0 else None
