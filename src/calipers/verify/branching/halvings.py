"""Boxes of a search over inputs, and the tree of halvings that they come from."""

import bisect
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.check import Halving
from calipers.core.intervals import IntervalBounds

Known = dict[int, IntervalBounds]


@dataclass(frozen=True, eq=False)
class Boxes:
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

    def __getitem__(self, index: Tensor | slice) -> "Boxes":
        known = {i: bounds.at(index) for i, bounds in self.known.items()}
        return Boxes(self.lower[index], self.upper[index], self.bound[index], self.place[index], known)

    def joined(self, other: "Boxes") -> "Boxes":
        if not len(self) or not len(other):
            return self if len(self) else other
        return Boxes(
            torch.cat([self.lower, other.lower]),
            torch.cat([self.upper, other.upper]),
            torch.cat([self.bound, other.bound]),
            torch.cat([self.place, other.place]),
            {i: bounds.joined(other.known[i]) for i, bounds in self.known.items()},
        )

    def take(self, count: int, worst: bool) -> tuple["Boxes", "Boxes"]:
        """Some boxes by their least bound, and the others."""
        if count >= len(self):
            return self, self[:0]
        index = self.bound.amin(1).topk(count, largest=not worst).indices
        others = torch.ones(len(self), dtype=torch.bool, device=index.device)
        others[index] = False
        return self[index], self[others]


class Halvings:
    """The tree of halvings. The whole set has place 0; a halving gives its two halves the next places, low first."""

    def __init__(self) -> None:
        self._parent: list[Tensor] = [torch.zeros(1, dtype=torch.long, device="cpu")]
        self._axis = list(self._parent)
        self._cut: list[Tensor] = [torch.zeros(1, device="cpu")]
        self._first = [0]

    def halve(self, boxes: Boxes, blame: Float[Tensor, "batch rows inputs"], fill: int) -> tuple[Boxes, Boxes]:
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
        self, boxes: Boxes, blame: Float[Tensor, "batch rows inputs"]
    ) -> tuple[Boxes, Boxes, Float[Tensor, "halves rows inputs"]]:
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
        below = Boxes(boxes.lower, high.scatter(1, axis, cut).reshape(shape), boxes.bound, left, boxes.known)
        above = Boxes(low.scatter(1, axis, cut).reshape(shape), boxes.upper, boxes.bound, right, boxes.known)
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
