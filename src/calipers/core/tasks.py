"""Tasks, units and workers: the kernel of every kind of run.

A task is planned into units, a worker does them one by one, and each leaves records, arrays and warnings. Nothing here
knows what a kind of run measures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np

from calipers.core.warnings import SanityWarning


@runtime_checkable
class Task(Protocol):
    """What is asked, whole: two tasks of one kind with the same digest compute the same thing."""

    @property
    def kind(self) -> str:
        """Of run, as the store and the report name it."""

    @property
    def title(self) -> str:
        """One line for lists of runs."""

    @property
    def digest(self) -> str:
        """Of everything that decides the records."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""


@runtime_checkable
class Unit(Protocol):
    """The smallest thing that is done or not done. It can be pickled."""

    @property
    def name(self) -> str:
        """Unique in its run and usable as a file name; it seeds what is drawn."""

    @property
    def doing(self) -> str:
        """A few words for progress bars."""

    @property
    def count(self) -> int:
        """Steps of progress that it is worth."""


R = TypeVar("R")
U = TypeVar("U", bound=Unit)


@dataclass(frozen=True)
class Done(Generic[R]):
    """What one unit leaves. arrays: by name, equally long along the first dimension; None where there are none."""

    records: Sequence[R] = ()
    arrays: Mapping[str, np.ndarray] | None = None
    warnings: Sequence[SanityWarning] = field(default_factory=tuple)


@runtime_checkable
class Worker(Protocol[U, R]):
    """Does the units of one task. It can be pickled and knows no store; the same unit always gives the same records."""

    def plan(self, done: Mapping[str, Sequence[R]]) -> Sequence[U]:
        """All units that can be done now, finished ones included, in the order in which they are best done.

        done: records of the finished units, by their names. It is asked again when they are done, until nothing is new.
        """

    def execute(self, unit: U) -> Done[R]:
        """The records, arrays and warnings of one unit."""

    def summarise(self, records: Sequence[R], warnings: Sequence[SanityWarning]) -> Mapping[str, Any]:
        """JSON values to keep with the run, by name. Raises SoundnessError where records contradict each other."""

    @property
    def steps(self) -> int:
        """Of progress, in all units that are to be expected."""


@dataclass(frozen=True)
class Run:
    """A run as the store knows it. status: running, interrupted, failed or complete. task: its JSON form."""

    run_id: str
    kind: str
    title: str
    created: str
    command: str
    status: str
    seconds: float
    task: dict[str, Any]
