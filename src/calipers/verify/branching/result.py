"""The result of a branch-and-bound search."""

import math
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search has proven when it ends or is stopped.

    lower: a lower bound of every specification row that was searched, by its index: the least over the row's open
    subdomains; infinite where none is open. witness: an input (1, *shape) that breaks the specification, if one was
    found; `lower` is empty then. subdomains: how many were bounded. exhausted: no subdomain is left that could be
    split. failed: the solver that the search rests on gave no answer.
    """

    lower: dict[int, float]
    witness: Float[Tensor, "1 *shape"] | None
    subdomains: int
    exhausted: bool
    failed: bool = False

    @property
    def open(self) -> list[int]:
        """Rows that are neither proven nor broken."""
        return [row for row, lower in self.lower.items() if lower < math.inf]

    @property
    def proven(self) -> bool:
        """Whether every row that was searched is positive."""
        return self.witness is None and not self.open

    def then(self, later: "SearchResult") -> "SearchResult":
        """What is known after a second search of the rows that the first has left open."""
        lower = {row: max(bound, later.lower.get(row, bound)) for row, bound in self.lower.items()}
        return replace(later, lower=lower, subdomains=self.subdomains + later.subdomains)
