"""Progress of a run: a bar with an estimate on terminals and in notebooks, a few plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

_LINE_EVERY = 10.0


@runtime_checkable
class Tracker(Protocol):
    """Told what is being done and how much of it is over."""

    def advance(self, doing: str, done: int) -> None:
        """`done` steps are over in all; `doing` is under way."""


class Silent:
    """Says nothing."""

    def advance(self, doing: str, done: int) -> None:
        """Nothing."""


class _Bar:
    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=total)

    def advance(self, doing: str, done: int) -> None:
        self._progress.update(self._task, description=doing, completed=done)


class _Lines:
    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total = console, total
        self._start = self._last = time.monotonic()

    def advance(self, doing: str, done: int) -> None:
        now = time.monotonic()
        if now - self._last >= _LINE_EVERY and done:
            self._last = now
            left = (now - self._start) / done * (self._total - done)
            self._console.print(f"{done}/{self._total} {doing}, about {left:.0f} s left", highlight=False)


@contextmanager
def track(total: int) -> Iterator[Tracker]:
    """Progress over `total` steps on standard error."""
    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        yield _Lines(Console(file=sys.stderr, width=200), total)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bar(progress, total)
