"""Memory as a budget: work is cut into chunks that obey it."""

from collections.abc import Iterator
from dataclasses import dataclass

# Chunks of about this size stay near the processor's caches; larger ones measured slower, not faster.
_SWEET_SPOT = 48 * 2**20


@dataclass(frozen=True)
class MemoryBudget:
    """Bytes that the coefficients in flight may take."""

    bytes: int = 2**30

    def chunks(self, items: int, bytes_per_item: int) -> Iterator[slice]:
        """Consecutive slices over `items`, each within the budget but never empty."""
        size = max(1, min(self.bytes, _SWEET_SPOT) // max(1, bytes_per_item))
        for start in range(0, items, size):
            yield slice(start, min(items, start + size))
