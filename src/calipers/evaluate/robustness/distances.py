"""The distances that the minimum-norm attacks of a run found, and their statistics."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import mean, median

import torch
from scipy.stats import binom

from calipers.core.tables import Row
from calipers.evaluate.robustness.curves import robust_accuracy
from calipers.evaluate.robustness.metrics import rate
from calipers.evaluate.robustness.records import Outcome, Question, SampleRecord
from calipers.evaluate.robustness.task import RobustnessTask

BEST = "best of all"

# What the rows of mean distances end in.
MEAN = " mean|found"


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

    def rows(self, norm: str, unit: str) -> Iterator[Row]:
        """Success, median and mean distance, passes; none without samples."""
        name, n = f"attack:{self.attack}", len(self.distances)
        if not n:
            return
        success = rate(f"{name} success|correct", None, self.found, n, seconds=self.seconds)
        yield Row.of_rate(success.name, success, norm, unit)
        low, high = (_finite(side) for side in self.median_interval)
        about = partial(Row, unit="distance", seconds=self.seconds, norm=norm, epsilon_unit=unit)
        yield about(f"{name} median|correct", _finite(self.median), n, low=low, high=high)
        yield about(f"{name}{MEAN}", _finite(self.mean), self.found)
        yield Row(f"{name} passes|correct", self.passes, n, "propagations")

    def accuracy(self, epsilon: float) -> float:
        """The share of the correctly classified samples without an example within epsilon."""
        return robust_accuracy(torch.tensor(self.distances, dtype=torch.float64), epsilon)


def distances_of(task: RobustnessTask, records: Sequence[SampleRecord]) -> tuple[Distances, ...]:
    """Those of every minimum-norm attack of a run, and of the best of them if there are several."""
    correct = [r.sample_id for r in records if r.question is Question.CLEAN and r.outcome is Outcome.CORRECT]
    cells = {(r.method, r.sample_id): r for r in records if r.question is Question.ATTACK and r.epsilon is None}
    names = [method.name for method in task.attacks if method.minimum_norm]
    found = [_distances(name, [cells[name, s] for s in correct if (name, s) in cells]) for name in names]
    return (*found, _best(found)) if len(found) > 1 else tuple(found)


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
