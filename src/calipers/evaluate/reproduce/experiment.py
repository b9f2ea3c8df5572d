"""What a reproduction measures: networks, radii and methods, and the paper's figures beside them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from calipers.attacks import Attack, MinimumNormAttack
from calipers.core.distances import Distance
from calipers.core.rates import Rate
from calipers.core.tables import Row
from calipers.evaluate.reproduce.network import Published, Trained
from calipers.evaluate.reproduce.relative_experiment import RelativeExperiment, RelativeFinding
from calipers.evaluate.reproduce.relative_figures import Densities, Gallery, Levels, Matrix, Sweep
from calipers.evaluate.reproduce.repeated import Repeated, repeated
from calipers.evaluate.reproduce.study import Study, StudyFinding, StudyGroup, grouped
from calipers.evaluate.reproduce.study_figure import Lines
from calipers.evaluate.robustness.distances import MEAN, Distances
from calipers.evaluate.robustness.summary import RobustnessReport
from calipers.verify import Verifier


@dataclass(frozen=True)
class Budget:
    """How much to spend: samples per experiment (fewer on `large` networks), seconds per sample of a search, training.

    epochs, images: of the training set (None: all of it). complete_large: search on large networks too. draws: of the
    larger simulation.
    """

    name: str
    samples: int
    large: int
    timeout: float
    epochs: int
    images: int | None
    complete_large: bool
    draws: int


QUICK = Budget("quick", samples=10, large=2, timeout=1.0, epochs=2, images=10_000, complete_large=False, draws=1_000)
FULL = Budget("full", samples=100, large=100, timeout=60.0, epochs=10, images=None, complete_large=True, draws=10_000)


@dataclass(frozen=True)
class Experiment:
    """One network under one threat model; every method answers the same question.

    label: what the rows are called. unit, domain, distance: of the threat model; counts have no balls, so only
    minimum-norm attacks know them. paper: the paper's rates by method and radius; paper_seconds: its seconds per image,
    likewise; paper_means: its mean distances by method. A paper's method that is not among ours gets a row of its own.
    """

    label: str
    network: Published | Trained
    data: str
    epsilons: tuple[float, ...]
    unit: str
    domain: tuple[float, float] | None
    attacks: tuple[Attack | MinimumNormAttack, ...]
    verifiers: tuple[Verifier, ...]
    samples: int
    paper: Mapping[tuple[str, float], float] = field(default_factory=dict)
    paper_seconds: Mapping[tuple[str, float], float] = field(default_factory=dict)
    paper_means: Mapping[str, float] = field(default_factory=dict)
    distance: Distance = Distance.LINF

    @property
    def work(self) -> int:
        """Samples to go through, over all methods and radii."""
        once = sum(isinstance(attack, MinimumNormAttack) for attack in self.attacks)
        each = len(self.attacks) - once + len(self.verifiers)
        return self.samples * (1 + once + len(self.epsilons) * each)


@dataclass(frozen=True)
class Finding:
    """An experiment and what came out of it. distances: of its minimum-norm attacks."""

    experiment: Experiment
    report: RobustnessReport
    distances: tuple[Distances, ...] = ()

    def row(self, method: str, epsilon: float) -> Rate | None:
        """A method's rate over the correctly classified samples, as in the papers; None if it did not run."""
        name = f"{method}|correct"
        return next((rate for rate in self.report.rates if rate.name == name and rate.epsilon == epsilon), None)

    def rows(self) -> list[Row]:
        """Every rate with the paper's beside it, then every time, then what only the paper has."""
        experiment, task = self.experiment, self.report.task
        threat = partial(Row, norm=task.norm, epsilon_unit=task.unit)
        rows, times = [], []
        for rate in self.report.rates:
            method = rate.name.removesuffix("|correct")
            key = (method, rate.epsilon or 0.0)
            name = f"{experiment.label} {rate.name}"
            rows.append(Row.of_rate(name, rate, task.norm, task.unit, experiment.paper.get(key)))
            if rate.seconds is not None and method == rate.name:
                paper = experiment.paper_seconds.get(key)
                times.append(threat(f"{name} time", rate.seconds, rate.n, "s/image", paper, epsilon=rate.epsilon))
        ours = {rate.name for rate in self.report.rates}
        alone = [
            threat(f"{experiment.label} {method} (paper only)|correct", None, 0, "fraction", value, epsilon=epsilon)
            for (method, epsilon), value in experiment.paper.items()
            if method not in ours
        ]
        means = [
            replace(row, name=f"{experiment.label} {row.name}", paper=experiment.paper_means.get(_mean_of(row.name)))
            for found in self.distances
            for row in found.rows(task.norm, task.unit)
        ]
        return rows + times + means + alone


def _mean_of(name: str) -> str:
    """The method of which a row is the mean distance; empty for other rows."""
    return name.removesuffix(MEAN) if name.endswith(MEAN) else ""


def no_facts() -> tuple[Row, ...]:
    """No rows beyond the experiments'."""
    return ()


def no_experiments(budget: Budget) -> tuple[Experiment, ...]:
    """Nothing to measure."""
    return ()


def no_relatives(budget: Budget) -> tuple[RelativeExperiment, ...]:
    """Nothing to measure."""
    return ()


def no_studies(budget: Budget) -> tuple[Study, ...]:
    """Nothing to measure."""
    return ()


@dataclass(frozen=True)
class Curves:
    """A figure of methods against epsilon: their rates, or their seconds per image.

    label: of the other axis. names: what the legend calls a method's row ("verify:crown"), where not by the method's
    name.
    """

    quantity: Literal["rate", "seconds"]
    label: str
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sheet:
    """A figure of adversarial examples: a column per image, a row per network and distance."""


Figure = Curves | Sheet | Levels | Matrix | Gallery | Sweep | Densities | Lines


@dataclass(frozen=True)
class Reproduction:
    """A table or figure of a paper. facts: rows that need no experiment. notes: what a reader has to know.

    relatives: experiments on perturbations relative to their images. studies: of any other kind. figure: what is drawn
    beside the table, if
    anything is. minutes: that a budget takes on two cores, by its name, where it was measured.
    """

    name: str
    title: str
    experiments: Callable[[Budget], tuple[Experiment, ...]] = no_experiments
    facts: Callable[[], tuple[Row, ...]] = no_facts
    notes: tuple[str, ...] = ()
    figure: Figure | None = None
    relatives: Callable[[Budget], tuple[RelativeExperiment, ...]] = no_relatives
    studies: Callable[[Budget], tuple[Study, ...]] = no_studies
    minutes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Reproduced:
    """What a reproduction found."""

    reproduction: Reproduction
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]
    relatives: tuple[RelativeFinding, ...] = ()
    studies: tuple[StudyFinding, ...] = ()

    @property
    def rows(self) -> list[Row]:
        """All rows, in the order of the table."""
        found: tuple[Finding | Repeated | StudyGroup, ...] = (
            *self.findings,
            *repeated(self.relatives),
            *grouped(self.studies),
        )
        return [*self.reproduction.facts(), *(row for finding in found for row in finding.rows())]
