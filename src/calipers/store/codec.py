"""How the records of one kind of run become rows."""

from typing import Any, Protocol, TypeVar, runtime_checkable

R = TypeVar("R")


@runtime_checkable
class Codec(Protocol[R]):
    """Key columns and a typed body; load(dump(record)) == record, also after a trip through JSON."""

    def place(self, record: R) -> int:
        """What the record is about: the number of a sample, an epoch, an instance."""

    def part(self, record: R) -> str:
        """Which answer about it; a run has one record per place and part."""

    def dump(self, record: R) -> dict[str, Any]:
        """JSON-ready body."""

    def load(self, raw: dict[str, Any]) -> R:
        """Inverse of `dump`."""
