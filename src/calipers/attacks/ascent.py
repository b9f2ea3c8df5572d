"""Projected ascent inside balls and boxes: the loop of PGD and the attacks that differ in their direction."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from calipers.attacks.query import Query
from calipers.core.sets import InputSet


@dataclass(frozen=True)
class Points:
    """The instances that are not broken yet.

    active: their places in the batch; a place comes several times where an instance has several points. x: a point of
    each. memory: what the direction remembers of the steps before, one entry per point in each tensor.
    """

    active: Int[Tensor, " active"]
    x: Float[Tensor, "active *shape"]
    memory: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.active)

    def __getitem__(self, keep: Bool[Tensor, " active"]) -> "Points":
        return Points(self.active[keep], self.x[keep], tuple(one[keep] for one in self.memory))


# Queries the points of step k = 0, 1, ... and gives the way up from each, (active, *shape), and what to remember.
Direction = Callable[[Points, int], tuple[Tensor, tuple[Tensor, ...]]]
# What is added to x, from the sets, x, the direction there and the number of the step.
Move = Callable[[InputSet, Tensor, Tensor, int], Tensor]


@dataclass(frozen=True)
class Ascent:
    """A solver: queries at the points, then moves from those whose instances are still unbroken, into the sets.

    The last points are queried by a forward pass.
    """

    query: Query
    start: Points
    direction: Direction
    move: Move

    def init(self) -> Points:
        return self.start

    def step(self, state: Points, k: int) -> Points:
        if not len(state):
            return state
        direction, memory = self.direction(state, k)
        keep = self.query.best_margin[state.active] > 0
        left = Points(state.active, state.x, memory)[keep]
        if not len(left):
            return left
        sets = self.query.problem.input_set[left.active]
        x = sets.project(left.x + self.move(sets, left.x, direction[keep], k))
        return Points(left.active, x, left.memory)

    def finish(self, state: Points) -> Points:
        if len(state):
            self.query.margins(state.x, state.active)
        return state
