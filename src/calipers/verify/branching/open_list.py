"""The loop of branch and bound, for any kind of subdomain."""

import math
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from calipers.bounds.budget import OutOfTimeError, WorkBudget
from calipers.verify.branching.result import SearchResult
from calipers.verify.branching.ties import TieWatch

T = TypeVar("T")
D = TypeVar("D")


@dataclass(frozen=True, eq=False)
class Bounded(Generic[D]):
    """A batch after bounding.

    count: subdomains that were bounded for it. point: of the inputs (1, *shape) that the bounds point to, the one with
    the least specification row, margin. details: what the open list needs to keep the batch.
    """

    count: int
    point: Float[Tensor, "1 *shape"]
    margin: float
    details: D


@runtime_checkable
class OpenList(Protocol[T, D]):
    """The subdomains of one search that are neither proven nor broken, and how they are bounded and split."""

    def __len__(self) -> int:
        """How many can still be bounded or split."""

    def take(self) -> T:
        """Remove the next batch."""

    def put_back(self, taken: T) -> None:
        """Undo `take`, for a batch that time was too short for."""

    def bound(self, taken: T) -> Bounded[D]:
        """Bound a batch, or the parts that it is split into. Raises OutOfTimeError; the batch can be put back then."""

    def keep(self, bounded: Bounded[D]) -> Float[Tensor, "1 *shape"] | None:
        """Take down what is proven and keep what is not; returns an input that breaks the specification if one is met.

        What cannot be split any more stays open, but is not offered again.
        """

    def lowest(self) -> dict[int, float]:
        """The least bound of every row over its open subdomains; infinite where none is left."""


def branch_and_bound(
    open_list: OpenList[T, D], ties: TieWatch, budget: WorkBudget, most: float = math.inf
) -> SearchResult:
    """Bound and split until all is proven, an input breaks the specification, time is up or rounding decides.

    Bounds only rise, so a search that is out of time has proven what it has proven. most: subdomains to bound.
    """
    bounded = 0
    while len(open_list) and budget.left > 0 and bounded < most and not ties.over(bounded):
        taken = open_list.take()
        try:
            found = open_list.bound(taken)
        except OutOfTimeError:
            open_list.put_back(taken)
            break
        bounded += found.count
        if found.margin <= 0:
            return SearchResult({}, found.point, bounded, False)
        ties.met(found.point, found.margin, bounded)
        witness = open_list.keep(found)
        if witness is not None:
            return SearchResult({}, witness, bounded, False)
    return SearchResult(open_list.lowest(), None, bounded, not len(open_list) or ties.over(bounded))
