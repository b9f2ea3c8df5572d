"""Memory and time as a budget: work is cut into chunks that obey it."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

# Chunks of about this size stay near the processor's caches; larger ones measured slower, not faster.
_SWEET_SPOT = 24 * 2**20


class OutOfTimeError(Exception):
    """A budget's time was up between two chunks."""


@dataclass(frozen=True)
class WorkBudget:
    """bytes: that the coefficients in flight may take. deadline: on the clock of time.monotonic."""

    bytes: int = 2**30
    deadline: float = math.inf

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    def until(self, deadline: float) -> "WorkBudget":
        """The same memory until another deadline."""
        return replace(self, deadline=deadline)

    def check(self) -> None:
        """Raise OutOfTimeError after the deadline."""
        if self.left <= 0:
            raise OutOfTimeError

    def fit(self, bytes_per_item: int) -> int:
        """How many items go into one chunk; at least one."""
        return max(1, min(self.bytes, _SWEET_SPOT) // max(1, bytes_per_item))

    def chunks(self, items: int, bytes_per_item: int) -> Iterator[slice]:
        """Consecutive slices over `items`, each within the budget but never empty.

        Raises OutOfTimeError where the deadline comes before the next of them.
        """
        size = self.fit(bytes_per_item)
        for start in range(0, items, size):
            self.check()
            yield slice(start, min(items, start + size))
