"""Progress of a run: a bar with an estimate on terminals and in notebooks, a few plain lines elsewhere.

Both go on by themselves while a step takes long, so that a slow step does not look like a dead program.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from calipers.core.tracker import Tracker

# Seconds between lines where steps are done, and where none is; and before the first line of all.
_LINE_EVERY, _HEARTBEAT, _PATIENCE = 10.0, 30.0, 1.5


class Pace:
    """How long the rest will take, from what was done since the first call; what was done before counts for nothing."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._first: int | None = None
        self.done = 0

    def reach(self, done: int) -> None:
        """`done` steps are over in all."""
        self._first = done if self._first is None else self._first
        self.done = done

    def left(self, elapsed: float) -> float | None:
        """Seconds, after `elapsed` seconds: it grows while a step takes longer than those before. None: unknown."""
        fresh = self.done - (self._first or 0)
        return elapsed / fresh * (self._total - self.done) if fresh > 0 else None


class _Bar:
    def __init__(self, progress: Progress, total: int, doing: str) -> None:
        self._progress, self._pace = progress, Pace(total)
        self._task = progress.add_task(doing, total=total, pace=self._pace)

    def advance(self, doing: str, done: int) -> None:
        self._pace.reach(done)
        self._progress.update(self._task, description=doing, completed=done)


class _Left(ProgressColumn):
    """The estimate of the time that is left."""

    def render(self, task: Task) -> Text:
        left = task.fields["pace"].left(task.elapsed or 0.0)
        return Text("" if left is None else f"{duration(left)} left", style="progress.remaining")


class Lines:
    """A line every 10 s while steps are done, every 30 s while none is, the first after 1.5 s.

    write: takes a line. clock: seconds, from anywhere.
    """

    def __init__(self, write: Callable[[str], None], total: int | None, clock: Callable[[], float]) -> None:
        self._write, self._total, self._clock = write, total, clock
        self._pace = Pace(total or 0)
        self._doing = "starting"
        self._start = clock()
        self._last: float | None = None

    def advance(self, doing: str, done: int) -> None:
        """See `Tracker`."""
        self._doing = doing
        self._pace.reach(done)
        self._say_after(_LINE_EVERY)

    def beat(self) -> None:
        """To be called every now and then, from any thread."""
        self._say_after(_HEARTBEAT)

    def _say_after(self, seconds: float) -> None:
        now = self._clock()
        if now - (self._start if self._last is None else self._last) < (_PATIENCE if self._last is None else seconds):
            return
        self._last = now
        left = self._pace.left(now - self._start)
        count = "" if self._total is None else f"{self._pace.done}/{self._total} "
        rest = "" if left is None else f", about {duration(left)} left"
        self._write(f"{count}{self._doing}, {duration(now - self._start)} so far{rest}")


@contextmanager
def track(total: int) -> Iterator[Tracker]:
    """Progress over `total` steps on standard error."""
    with _shown(total, "starting") as tracker:
        yield tracker


@contextmanager
def busy(doing: str) -> Iterator[None]:
    """A sign of life on standard error while something of unknown length is under way."""
    with _shown(None, doing) as tracker:
        tracker.advance(doing, 0)
        yield


@contextmanager
def _shown(total: int | None, doing: str) -> Iterator[Tracker]:
    console = Console(stderr=True)
    if console.is_terminal or console.is_jupyter:
        measured: tuple[ProgressColumn, ...] = () if total is None else (BarColumn(20), MofNCompleteColumn())
        columns = (SpinnerColumn(), TextColumn("{task.description}"), *measured, TimeElapsedColumn(), _Left())
        with Progress(*columns, console=console, transient=True) as progress:
            yield _Bar(progress, 1 if total is None else total, doing)
        return
    plain = Console(file=sys.stderr, width=200)
    lines = Lines(lambda line: plain.print(line, highlight=False, markup=False), total, time.monotonic)
    over = Event()
    heart = Thread(target=_keep_beating, args=(lines, over), daemon=True)
    heart.start()
    try:
        yield lines
    finally:
        over.set()
        heart.join()


def _keep_beating(lines: Lines, over: Event) -> None:
    while not over.wait(0.5):
        lines.beat()


def duration(seconds: float) -> str:
    """Whole seconds, from two minutes on minutes, from two hours on hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
