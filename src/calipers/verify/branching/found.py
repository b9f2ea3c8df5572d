"""What a search brings back."""

import math
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Found:
    """What a search knows when it ends or is stopped.

    lower: of every row that was searched, the least over its open subdomains; infinite where none is open.
    witness: an input that breaks the specification, if one was met; then nothing is said of rows.
    subdomains: how many were bounded. exhausted: nothing is left to try.
    failed: a solver that the search rests on gave no answer.
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

    def then(self, later: "Found") -> "Found":
        """What is known after a second search of the rows that the first has left open."""
        lower = {row: max(bound, later.lower.get(row, bound)) for row, bound in self.lower.items()}
        return replace(later, lower=lower, subdomains=self.subdomains + later.subdomains)
