"""Distances of the nearest adversarial examples of a run: per attack, and of the best attack for every sample."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean, median

import torch
from rich import box
from rich.table import Table
from rich.text import Text
from scipy.stats import binom

from calipers.core.errors import InputError
from calipers.core.records import Kind, Outcome, RunSpec, SampleRecord
from calipers.core.tables import Row
from calipers.evaluate.curves import robust_accuracy
from calipers.evaluate.metrics import rate
from calipers.report.wording import clipping, number, percent, seconds
from calipers.store.store import Store

BEST = "best of all"


@dataclass(frozen=True)
class Distances:
    """What an attack found on the correctly classified samples; inf where it found nothing.

    passes: forward and backward, on average per sample. seconds: likewise.
    """

    attack: str
    distances: tuple[float, ...]
    passes: float
    seconds: float

    @property
    def found(self) -> int:
        return sum(math.isfinite(distance) for distance in self.distances)

    @property
    def median(self) -> float:
        return median(self.distances) if self.distances else math.nan

    @property
    def median_interval(self) -> tuple[float, float]:
        """A 95 % interval from order statistics, which needs no shape of the distribution."""
        ordered = [-math.inf, *sorted(self.distances), math.inf]
        rank = int(binom.ppf(0.025, len(self.distances), 0.5))
        return ordered[rank], ordered[-1 - rank]

    @property
    def mean(self) -> float:
        """Over the samples for which something was found."""
        finite = [distance for distance in self.distances if math.isfinite(distance)]
        return mean(finite) if finite else math.nan

    def accuracy(self, epsilon: float) -> float:
        """The share of the correctly classified samples without an example within epsilon."""
        return robust_accuracy(torch.tensor(self.distances, dtype=torch.float64), epsilon)


@dataclass(frozen=True)
class Nearest:
    """A run of minimum-norm attacks in numbers. samples: all; correct: those classified correctly as they are."""

    run_id: str
    command: str
    spec: RunSpec
    samples: int
    correct: int
    attacks: tuple[Distances, ...]

    def rows(self) -> Iterator[Row]:
        """One group per attack: success, median and mean distance, passes."""
        norm, unit = self.spec.norm, self.spec.unit
        yield Row.of_rate("clean", rate("clean", None, self.correct, self.samples), norm, unit)
        for one in self.attacks:
            name, n = f"attack:{one.attack}", len(one.distances)
            if not n:
                continue
            success = rate(f"{name} success|correct", None, one.found, n, seconds=one.seconds)
            yield Row.of_rate(success.name, success, norm, unit)
            low, high = (_finite(side) for side in one.median_interval)
            middle, average = _finite(one.median), _finite(one.mean)
            yield Row(f"{name} median|correct", middle, n, "distance", None, low, high, one.seconds, None, norm, unit)
            yield Row(
                f"{name} mean|found", average, one.found, "distance", None, None, None, one.seconds, None, norm, unit
            )
            yield Row(f"{name} passes|correct", one.passes, n, "propagations")

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
    names = [method.name for method in run.spec.attacks if method.minimum_norm]
    if not names:
        raise InputError(f"run {run.run_id} has no minimum-norm attack; `calipers show` prints its numbers")
    records = store.records(run.run_id)
    clean = [record for record in records if record.kind is Kind.CLEAN]
    correct = [record.sample_id for record in clean if record.outcome is Outcome.CORRECT]
    cells = {(r.method, r.sample_id): r for r in records if r.kind is Kind.ATTACK and r.epsilon is None}
    found = [_distances(name, [cells[name, s] for s in correct if (name, s) in cells]) for name in names]
    if len(found) > 1:
        found.append(_best(found))
    return Nearest(run.run_id, run.command, run.spec, len(clean), len(correct), tuple(found))


def _distances(name: str, records: list[SampleRecord]) -> Distances:
    n = max(1, len(records))
    return Distances(
        name,
        tuple(math.inf if record.distance is None else record.distance for record in records),
        sum(record.forwards + record.backwards for record in records) / n,
        sum(record.seconds for record in records) / n,
    )


def _best(several: list[Distances]) -> Distances:
    """Sample by sample; what is not there yet for every attack is left out."""
    nearest = tuple(map(min, zip(*(one.distances for one in several), strict=False)))
    return Distances(BEST, nearest, sum(one.passes for one in several), sum(one.seconds for one in several))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
