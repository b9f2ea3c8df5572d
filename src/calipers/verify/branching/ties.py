"""Inputs at which rounding decides: a row is positive there, but no proof can pass, however small a set around is."""

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.bounds import FUSED, LinearBounds, WorkBudget
from calipers.core.problem import Specification
from calipers.core.sets import Box
from calipers.graph.graph import Graph

# Subdomains to bound after a tie, beside as many as before it: something else may be broken in earnest.
_PATIENCE = 512


def tied(
    graph: Graph,
    asked: Specification,
    point: Float[Tensor, "1 *shape"],
    budget: WorkBudget,
    bound: LinearBounds = FUSED,
) -> bool:
    """Whether the bound fails on the point alone, with room for all evaluations, although no row is broken there.

    asked: of one instance. Every set that the point lies in has bounds that are no better.
    """
    one = Box(point, point)
    lower = bound.margins(graph, one, asked, budget).lower
    return bool((asked.margins(graph.evaluate(point)) > 0).all()) and not bool((lower > 0).all())


@dataclass
class TieWatch:
    """Looks now and then, by counts of batches, whether rounding decides at the best input that a search has met.

    After a tie a search in single precision is over: in double its bounds are sharper. One in double may do as much
    again, and then what is left is unknown.
    """

    graph: Graph
    asked: Specification
    budget: WorkBudget
    bound: LinearBounds = FUSED
    _least: float = field(default=math.inf, init=False)
    _point: Tensor | None = field(default=None, init=False)
    _batches: int = field(default=0, init=False)
    _most: float = field(default=math.inf, init=False)

    def met(self, point: Float[Tensor, "1 *shape"], margin: float, bounded: int) -> None:
        """A batch is over: its best input, the least row there, and how many subdomains were bounded in all."""
        if margin < self._least:
            self._least, self._point = margin, point
        self._batches += 1
        # At the 4th, 8th, 16th ... batch: a look costs as much as a batch.
        if self._batches < 4 or self._batches & (self._batches - 1) or self._most < math.inf or self._point is None:
            return
        if tied(self.graph, self.asked, self._point, self.budget, self.bound):
            double = self.asked.d.dtype == torch.float64
            self._most = 2 * bounded + _PATIENCE if double else 0

    def over(self, bounded: int) -> bool:
        """Whether going on is of no use."""
        return bounded >= self._most
