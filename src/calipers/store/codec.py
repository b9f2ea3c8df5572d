"""How the records of one kind of run become rows."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

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


@dataclass(frozen=True)
class PlainCodec(Generic[R]):
    """Records that are dataclasses of numbers, texts and dictionaries, one for every place.

    record: their class. at: the name of the field that holds the place.
    """

    record: Callable[..., R]
    at: str

    def place(self, record: R) -> int:
        """See `Codec`."""
        return int(getattr(record, self.at))

    def part(self, record: R) -> str:
        """See `Codec`."""
        return "record"

    def dump(self, record: R) -> dict[str, Any]:
        """See `Codec`."""
        return asdict(record)  # type: ignore[call-overload]  # R is a dataclass

    def load(self, raw: dict[str, Any]) -> R:
        """See `Codec`."""
        return self.record(**raw)
