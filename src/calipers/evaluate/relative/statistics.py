"""What the records of an aim say together."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev

from calipers.core.tables import Row
from calipers.evaluate.relative.task import RelativeRecord
from calipers.evaluate.robustness.metrics import rate

# Units of relative perturbations: of pixels, and behind a model's whitening.
OF_IMAGE, OF_WHITENED = "of the image's norm", "of the whitened image's norm"


@dataclass(frozen=True)
class Relative:
    """The records of one aim."""

    aim: str
    records: tuple[RelativeRecord, ...]

    @cached_property
    def ratios(self) -> tuple[float, ...]:
        """||r|| / ||x|| of the images for which the aim was reached."""
        return tuple(one.distance / one.size for one in self.records if one.distance is not None and one.size > 0)

    @property
    def rho(self) -> float:
        """Their mean, whatever the labels are (equation 4.9); NaN without any."""
        return fmean(self.ratios) if self.ratios else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """A 95 % interval of the mean, from the normal distribution, cut at 0."""
        if len(self.ratios) < 2:
            return math.nan, math.nan
        half = 1.96 * stdev(self.ratios) / math.sqrt(len(self.ratios))
        return max(0.0, self.rho - half), self.rho + half

    @property
    def seconds(self) -> float:
        """Per image."""
        return fmean(one.seconds for one in self.records)

    def rows(self, paper: float | None = None, unit: str = OF_IMAGE) -> Iterator[Row]:
        """The mean, the share of images for which the aim was reached, confidence there, passes. unit: of the mean."""
        n = len(self.records)
        low, high = (None if math.isnan(side) else side for side in self.interval)
        rho = None if math.isnan(self.rho) else self.rho
        yield Row(f"rho {self.aim}", rho, len(self.ratios), unit, paper, low, high, self.seconds)
        reached = rate("reached", None, sum(one.distance is not None for one in self.records), n)
        yield Row(f"{self.aim} reached", reached.measured, n, "fraction", None, reached.low, reached.high)
        sure = [one.confidence for one in self.records if one.distance is not None]
        if sure:
            yield Row(f"{self.aim} confidence", fmean(sure), len(sure), "probability")
        yield Row(f"{self.aim} passes", fmean(one.passes for one in self.records), n, "propagations")


def relatives_of(records: Sequence[RelativeRecord], aims: Sequence[str]) -> tuple[Relative, ...]:
    """One for each aim of which there are records, in this order."""
    found = (Relative(aim, tuple(record for record in records if record.aim == aim)) for aim in aims)
    return tuple(one for one in found if one.records)
