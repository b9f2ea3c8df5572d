"""What a verifier needs from a way of bounding."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from calipers.bounds.budget import MemoryBudget
from calipers.core.problem import Specification
from calipers.core.sets import InputSet
from calipers.graph.graph import Graph


@dataclass(frozen=True)
class MarginBounds:
    """Lower bounds of every specification row over its whole input set, in real arithmetic but for rounding.

    slack: an allowance for the rounding of this computation; a claim needs lower > slack.
    """

    lower: Float[Tensor, "batch rows"]
    slack: Float[Tensor, "batch rows"]


@runtime_checkable
class BoundMethod(Protocol):
    """A sound way to bound specification rows from below."""

    @property
    def name(self) -> str: ...

    def margins(
        self, graph: Graph, input_set: InputSet, specification: Specification, budget: MemoryBudget
    ) -> MarginBounds:
        """Lower bounds of C f(x) + d for all x in each set."""
