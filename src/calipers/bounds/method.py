"""What a verifier needs from a way of bounding."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from calipers.bounds.budget import WorkBudget
from calipers.core.problem import Specification
from calipers.core.sets import InputSet
from calipers.graph.graph import Graph


@dataclass(frozen=True)
class MarginBounds:
    """Lower bounds of every specification row over its whole input set, whoever evaluates the network.

    Every rounding is charged already (`bounds.rounding`): a positive number is a proof. NaN says nothing.
    """

    lower: Float[Tensor, "batch rows"]

    def __getitem__(self, index: Tensor) -> "MarginBounds":
        return MarginBounds(self.lower[index])

    @property
    def proven(self) -> Bool[Tensor, " batch"]:
        """Instances of which every row is positive."""
        return (self.lower > 0).all(1)

    def better(self, other: "MarginBounds") -> "MarginBounds":
        """Row by row the one that claims more."""
        ahead = (other.lower > self.lower) | self.lower.isnan()
        return MarginBounds(torch.where(ahead, other.lower, self.lower))


@runtime_checkable
class BoundMethod(Protocol):
    """A sound way to bound specification rows from below."""

    @property
    def name(self) -> str: ...

    def margins(
        self, graph: Graph, input_set: InputSet, specification: Specification, budget: WorkBudget
    ) -> MarginBounds:
        """Lower bounds of C f(x) + d for all x in each set."""


@runtime_checkable
class Limited(Protocol):
    """A bound method that does not take every network and every set; `margins` refuses what `require` refuses."""

    def require(self, graph: Graph, input_set: InputSet, budget: WorkBudget) -> None:
        """Raise InputError that names what is not accepted, and what would be."""
