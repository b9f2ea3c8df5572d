"""What a search brings back."""

from dataclasses import dataclass

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
