"""The open list of the search over inputs: boxes that are bounded before they are halved."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from calipers.core.problem import Specification
from calipers.core.sets import Box
from calipers.graph.graph import Graph
from calipers.verify.branching.box_bounds import BoxBounds
from calipers.verify.branching.halvings import Boxes, Halvings, Known
from calipers.verify.branching.journal import Journal
from calipers.verify.branching.open_list import Bounded

# Bounds of a batch of boxes: from the boxes, the rows for each, and what is known of the boxes that they are parts of.
Bound = Callable[[Box, Specification, Known], BoxBounds]
# What is kept of a batch: the boxes and their bounds.
Details = tuple[Boxes, BoxBounds]

# Boxes that cost little more than one, since so few of them keep no processor busy.
_FILL = 32


@dataclass(frozen=True)
class Batches:
    """most: boxes of a batch. room: boxes that the memory holds."""

    most: int
    room: int


class OpenBoxes:
    """See `OpenList`. asked: the rows that are searched, of one instance. rows: their places in its specification."""

    def __init__(
        self,
        graph: Graph,
        box: Box,
        asked: Specification,
        rows: list[int],
        bound: Bound,
        batches: Batches,
        journal: Journal | None,
    ) -> None:
        self._graph, self._asked, self._rows, self._bound = graph, asked, rows, bound
        self._batches, self._journal = batches, journal
        self._halvings = Halvings()
        place = torch.zeros(1, dtype=torch.long, device=asked.d.device)
        self._open = Boxes(box.lower, box.upper, torch.full_like(asked.d, -torch.inf), place, {})
        self._whole = self._open[:0]  # cannot be halved
        self._batch = 1

    def __len__(self) -> int:
        return len(self._open)

    def take(self) -> Boxes:
        """The worst boxes; once they fill the memory, those that are nearly proven."""
        taken, self._open = self._open.take(self._batch, worst=len(self._open) < self._batches.room)
        return taken

    def put_back(self, taken: Boxes) -> None:
        self._open = self._open.joined(taken)

    def bound(self, taken: Boxes) -> Bounded[Details]:
        rows = Specification(self._asked.C.expand(len(taken), -1, -1), self._asked.d.expand(len(taken), -1))
        bounds = self._bound(Box(taken.lower, taken.upper), rows, taken.known)
        point, margin = self._lowest_point(bounds)
        return Bounded(len(taken), point, margin, (taken, bounds))

    def keep(self, bounded: Bounded[Details]) -> None:
        taken, bounds = bounded.details
        proven = bounds.lower > 0
        done = proven.all(1)
        if self._journal is not None:
            self._journal.boxes([self._halvings.path(k) for k in taken.place[done].tolist()], bounds.planes, done)
        best = torch.maximum(taken.bound, bounds.lower.nan_to_num(-torch.inf))
        # Evidence for a box has to stand alone.
        known = {} if self._journal is not None else dict(bounds.known)
        left = Boxes(taken.lower, taken.upper, best, taken.place, known)[~done]
        blame = bounds.looseness[~done] * ~proven[~done].unsqueeze(2)
        halves, whole = self._halvings.halve(left, blame, _FILL - len(self._open))
        self._open, self._whole = self._open.joined(halves), self._whole.joined(whole)
        self._batch = min(max(2 * self._batch, _FILL), self._batches.most)

    def lowest(self) -> dict[int, float]:
        left = self._whole.joined(self._open)
        least = left.bound.amin(0) if len(left) else self._asked.d.new_full((len(self._rows),), torch.inf)
        return dict(zip(self._rows, least.tolist(), strict=True))

    def _lowest_point(self, bounds: BoxBounds) -> tuple[Tensor, float]:
        """The point with the least row among those that attain the bounds, and that row."""
        points = bounds.lowest.flatten(0, 1)
        margin = (self._graph.evaluate(points) @ self._asked.C[0].T + self._asked.d[0]).amin(1)
        worst = int(margin.argmin())
        return points[worst : worst + 1], float(margin[worst])
