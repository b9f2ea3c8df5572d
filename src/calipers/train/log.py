"""Logs of a training for programs that watch it: a table, or TensorBoard."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from calipers.core.errors import InputError, StoreError
from calipers.core.files import write_whole
from calipers.train.checkpoint import EpochRecord

LOGS = ("csv", "tensorboard")


@runtime_checkable
class EpochLog(Protocol):
    """Told after every epoch."""

    def write(self, history: Sequence[EpochRecord]) -> None:
        """All epochs so far, the newest last; those before may have been told already, or not."""


class Unlogged:
    """Keeps nothing."""

    def write(self, history: Sequence[EpochRecord]) -> None:
        """Nothing."""


@dataclass(frozen=True)
class CsvLog:
    """A row per epoch in a file that is written anew every time, so that it is whole whatever happens."""

    path: Path

    def write(self, history: Sequence[EpochRecord]) -> None:
        """See `EpochLog`. Raises StoreError where the file cannot be written."""
        names = list(dict.fromkeys(name for record in history for name in record.metrics))
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["epoch", *names, "learning_rate", "seconds"])
        for one in history:
            rows.writerow([one.epoch + 1, *(one.metrics.get(n, "") for n in names), one.learning_rate, one.seconds])
        try:
            write_whole(self.path, text.getvalue().encode())
        except OSError as error:
            raise StoreError(f"log {self.path}: cannot be written ({error}); free some space, then --resume") from error


@dataclass(frozen=True, eq=False)
class TensorboardLog:
    """Scalars in TensorBoard's own format. writer: of torch, by the step from which on older values are void."""

    writer: Callable[[int], Any]
    _open: list[Any] = field(default_factory=list, init=False)

    def write(self, history: Sequence[EpochRecord]) -> None:
        """See `EpochLog`. The first call of a process writes all epochs, as a run that was stopped may lack some."""
        fresh = history[-1:] if self._open else history
        if not self._open:
            self._open.append(self.writer(1))
        for record in fresh:
            for name, value in {**record.metrics, "learning_rate": record.learning_rate}.items():
                self._open[0].add_scalar(name, value, record.epoch + 1)
        self._open[0].flush()


def log_of(kind: str | None, card: Path) -> EpochLog:
    """The log beside a card: NAME.csv, or the folder NAME.tensorboard; none for None.

    Raises InputError for another kind, and where TensorBoard is not installed.
    """
    if kind is None:
        return Unlogged()
    if kind == "csv":
        return CsvLog(card.with_suffix(".csv"))
    if kind != "tensorboard":
        raise InputError(f"log: {kind!r} is unknown; accepted: {', '.join(LOGS)}")
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "log: tensorboard is not installed; accepted: pip install 'calipers[tensorboard]', or --log csv"
        ) from error
    folder = str(card.with_suffix(".tensorboard"))
    return TensorboardLog(lambda step: SummaryWriter(folder, purge_step=step))
