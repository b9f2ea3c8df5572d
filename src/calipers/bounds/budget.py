"""Memory as a budget: work is cut into chunks that obey it."""

from collections.abc import Iterator
from dataclasses import dataclass

# Chunks of about this size stay near the processor's caches; larger ones measured slower, not faster.
_SWEET_SPOT = 24 * 2**20


@dataclass(frozen=True)
class MemoryBudget:
    """Bytes that the coefficients in flight may take."""

    bytes: int = 2**30

    def fit(self, bytes_per_item: int) -> int:
        """How many items go into one chunk; at least one."""
        return max(1, min(self.bytes, _SWEET_SPOT) // max(1, bytes_per_item))

    def chunks(self, items: int, bytes_per_item: int) -> Iterator[slice]:
        """Consecutive slices over `items`, each within the budget but never empty."""
        size = self.fit(bytes_per_item)
        for start in range(0, items, size):
            yield slice(start, min(items, start + size))
