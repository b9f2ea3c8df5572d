"""Distances of the nearest adversarial examples of a run: per attack, and of the best attack for every sample."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from calipers.core.errors import InputError
from calipers.core.records import Kind, Outcome, RunSpec, SanityWarning
from calipers.core.tables import Row
from calipers.evaluate.distances import BEST, Distances, distances_of
from calipers.evaluate.metrics import rate
from calipers.report.wording import clipping, number, percent, seconds
from calipers.store.store import Store


@dataclass(frozen=True)
class Nearest:
    """A run of minimum-norm attacks in numbers. samples: all; correct: those classified correctly as they are."""

    run_id: str
    command: str
    spec: RunSpec
    samples: int
    correct: int
    attacks: tuple[Distances, ...]
    warnings: tuple[SanityWarning, ...]

    def rows(self) -> Iterator[Row]:
        """One group per attack: success, median and mean distance, passes."""
        norm, unit = self.spec.norm, self.spec.unit
        yield Row.of_rate("clean", rate("clean", None, self.correct, self.samples), norm, unit)
        for one in self.attacks:
            yield from one.rows(norm, unit)

    def table(self) -> Table:
        """The same for the terminal."""
        title = f"Nearest adversarial examples, {self.spec.norm} in {self.spec.unit} units, {clipping(self.spec)}"
        table = Table(title=Text(title), title_justify="left", title_style="dim", box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("attack", overflow="fold")
        for head in ("found", "of", "median", "95 % interval", "mean", "passes", "per sample"):
            table.add_column(head, justify="right", no_wrap=True)
        for one in self.attacks:
            low, high = one.median_interval
            share = percent(one.found / len(one.distances)) if one.distances else ""
            table.add_row(
                Text(one.attack, style="bold yellow" if one.attack == BEST else ""),
                share,
                str(len(one.distances)),
                number(one.median),
                f"{number(low)} to {number(high)}",
                number(one.mean),
                f"{one.passes:.0f}",
                seconds(one.seconds),
            )
        return table


def load_nearest(store: Store, run_id: str) -> Nearest:
    """The distances of a run from what was kept. Raises InputError if it has no minimum-norm attack."""
    run = store.run(run_id)
    if not any(method.minimum_norm for method in run.spec.attacks):
        raise InputError(f"run {run.run_id} has no minimum-norm attack; `calipers show` prints its numbers")
    records = store.records(run.run_id)
    clean = [record for record in records if record.kind is Kind.CLEAN]
    correct = sum(record.outcome is Outcome.CORRECT for record in clean)
    summed = store.metric(run.run_id, "report") or {"warnings": []}
    warnings = tuple(SanityWarning(**warning) for warning in summed["warnings"])
    return Nearest(run.run_id, run.command, run.spec, len(clean), correct, distances_of(run.spec, records), warnings)
