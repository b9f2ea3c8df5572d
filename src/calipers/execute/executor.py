"""What an executor is, and the one that does everything in this process."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

U = TypeVar("U")
D = TypeVar("D")


@runtime_checkable
class Executor(Protocol):
    """Does units, in any order; what comes out does not depend on which executor did them."""

    def map(self, execute: Callable[[U], D], units: Sequence[U], started: Callable[[U], None]) -> Iterator[tuple[U, D]]:
        """Every unit with what came out, as soon as it is there.

        started: called in this process whenever a unit is begun. An exception of `execute` ends it and is raised here.
        """


@dataclass(frozen=True)
class Here:
    """One unit after the other, in this process."""

    def map(self, execute: Callable[[U], D], units: Sequence[U], started: Callable[[U], None]) -> Iterator[tuple[U, D]]:
        """See `Executor`."""
        for unit in units:
            started(unit)
            yield unit, execute(unit)
