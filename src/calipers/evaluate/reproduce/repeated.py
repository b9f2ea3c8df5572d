"""Several trainings of one network: means over seeds and their spreads."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from calipers.core.tables import Row
from calipers.evaluate.reproduce.relative_experiment import ERROR, RelativeFinding


@dataclass(frozen=True)
class Measure:
    """A number of every run. paper: the paper's mean and spread, None where it prints none. threat: of its rows."""

    name: str
    unit: str
    values: tuple[float, ...]
    paper: tuple[float | None, float | None]
    threat: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """NaN without runs."""
        return fmean(self.values) if self.values else math.nan

    @property
    def spread(self) -> float:
        """The standard deviation over runs, with n - 1; NaN for fewer than two."""
        return stdev(self.values) if len(self.values) > 1 else math.nan


@dataclass(frozen=True)
class Repeated:
    """Findings on networks that differ in the seed alone."""

    findings: tuple[RelativeFinding, ...]

    @property
    def label(self) -> str:
        return self.findings[0].experiment.label

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The test error, that after FGSM if it was asked for, and the mean relative perturbation of every aim."""
        experiment = self.findings[0].experiment
        spreads = experiment.spreads
        errors = tuple(one.error for one in self.findings)
        found = [Measure(experiment.error_name, "fraction", errors, (experiment.paper_error, spreads.get(ERROR)))]
        if experiment.fgsm is not None:
            corrupted = tuple(one.fgsm_error for one in self.findings if one.fgsm_error is not None)
            name, threat = experiment.fgsm.name, experiment.fgsm.threat
            found.append(Measure(name, "fraction", corrupted, (experiment.fgsm.paper, spreads.get(name)), threat))
        for aim in experiment.aims:
            means = (one.rho for finding in self.findings for one in finding.relatives if one.aim == aim.name)
            values = tuple(value for value in means if not math.isnan(value))
            name = f"rho {aim.name}"
            paper = (experiment.paper.get(aim.name), spreads.get(name))
            found.append(Measure(name, experiment.unit, values, paper))
        return tuple(found)

    def rows(self) -> list[Row]:
        """Of one run, all that it has; of several, the mean and the spread of each measure, n being the runs."""
        if len(self.findings) == 1:
            return self.findings[0].rows()
        return [row for one in self.measures for row in self._pair(one)]

    def _pair(self, one: Measure) -> tuple[Row, Row]:
        (mean, spread), n = one.paper, len(one.values)
        measured = (None if math.isnan(value) else value for value in (one.mean, one.spread))
        return (
            Row(f"{self.label} {one.name}", next(measured), n, one.unit, mean, **one.threat),
            Row(f"{self.label} {one.name} spread", next(measured), n, one.unit, spread, **one.threat),
        )


def repeated(findings: Sequence[RelativeFinding]) -> tuple[Repeated, ...]:
    """Findings by label, in the order in which labels first come."""
    labels = dict.fromkeys(one.experiment.label for one in findings)
    return tuple(Repeated(tuple(one for one in findings if one.experiment.label == label)) for label in labels)
