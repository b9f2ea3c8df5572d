"""Distances of the nearest adversarial examples of a run: per attack, and of the best attack for every sample."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from calipers.core.errors import InputError
from calipers.core.tables import Row
from calipers.core.warnings import SanityWarning
from calipers.evaluate.robustness.distances import BEST, Distances, distances_of
from calipers.evaluate.robustness.measure import records_of, run_of
from calipers.evaluate.robustness.metrics import rate
from calipers.evaluate.robustness.records import Outcome, Question
from calipers.evaluate.robustness.task import RobustnessTask
from calipers.report.nouns import ANYTHING
from calipers.report.threat import allowed
from calipers.report.verdict import warning_lines
from calipers.report.wording import clipping, number, percent, seconds
from calipers.store.store import Store

# Each with the width of a terminal from which on it has room.
_COLUMNS = {"found": 0, "of": 0, "median": 0, "95 % interval": 64, "mean": 0, "passes": 96, "per sample": 96}


@dataclass(frozen=True)
class NearestReport:
    """A run of minimum-norm attacks in numbers. samples: all; correct: those classified correctly as they are.

    `str` is the result in plain words, with the warnings.
    """

    run_id: str
    command: str
    task: RobustnessTask
    samples: int
    correct: int
    attacks: tuple[Distances, ...]
    warnings: tuple[SanityWarning, ...]

    def __str__(self) -> str:
        told = [f"{self.correct} of {self.samples} samples are classified correctly.", *map(_told, self.attacks)]
        return "\n".join([" ".join(told), allowed(self.task, ANYTHING), *warning_lines(self.warnings)])

    def rows(self) -> Iterator[Row]:
        """One group per attack: success, median and mean distance, passes."""
        norm, unit = self.task.norm, self.task.unit
        yield Row.of_rate("clean", rate("clean", None, self.correct, self.samples), norm, unit)
        for one in self.attacks:
            yield from one.rows(norm, unit)

    def table(self, width: int = 100) -> Table:
        """The same for a terminal of this width; a narrow one goes without some columns."""
        heads = [head for head, least in _COLUMNS.items() if width >= least]
        title = f"Nearest adversarial examples, {self.task.norm} in {self.task.unit} units, {clipping(self.task)}"
        table = Table(title=Text(title), title_justify="left", title_style="dim", box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("attack", overflow="fold")
        for head in heads:
            table.add_column(head, justify="right", no_wrap=True)
        for one in self.attacks:
            low, high = one.median_interval
            cells = {
                "found": percent(one.found / len(one.distances)) if one.distances else "",
                "of": str(len(one.distances)),
                "median": number(one.median),
                "95 % interval": f"{number(low)} to {number(high)}",
                "mean": number(one.mean),
                "passes": f"{one.passes:.0f}",
                "per sample": seconds(one.seconds),
            }
            name = Text(one.attack, style="bold yellow" if one.attack == BEST else "")
            table.add_row(name, *(cells[head] for head in heads))
        return table


def load_nearest(store: Store, run_id: str) -> NearestReport:
    """The distances of a run from what was kept. Raises InputError if it has no minimum-norm attack."""
    run = run_of(store, run_id)
    task = RobustnessTask.from_dict(run.task)
    if not any(method.minimum_norm for method in task.attacks):
        raise InputError(f"run {run.run_id} has no minimum-norm attack; `calipers show` prints its numbers")
    records = records_of(store, run.run_id)
    clean = [record for record in records if record.question is Question.CLEAN]
    correct = sum(record.outcome is Outcome.CORRECT for record in clean)
    summed = store.metric(run.run_id, "report") or {"warnings": []}
    warnings = tuple(SanityWarning(**warning) for warning in summed["warnings"])
    return NearestReport(run.run_id, run.command, task, len(clean), correct, distances_of(task, records), warnings)


def _told(one: Distances) -> str:
    if not one.distances:
        return f"{one.attack}: none to break."
    where = f", at a median distance of {number(one.median)}" if math.isfinite(one.median) else ""
    return f"{one.attack}: {one.found} of {len(one.distances)} broken{where}."
