"""Progress, one protocol for all that takes long."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@runtime_checkable
class Tracker(Protocol):
    """Told what is being done and how much of it is over."""

    def advance(self, doing: str, done: int) -> None:
        """`done` steps are over in all; `doing` is under way."""


class Silent:
    """Says nothing."""

    def advance(self, doing: str, done: int) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Part:
    """A tracker of one part of the work, which starts where `before` steps are over."""

    of: Tracker
    before: int
    label: str

    def advance(self, doing: str, done: int) -> None:
        """See `Tracker`."""
        self.of.advance(f"{self.label}: {doing}", self.before + done)
