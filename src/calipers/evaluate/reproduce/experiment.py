"""What a reproduction measures: networks, radii and methods, and the paper's figures beside them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from calipers.attacks import Attack
from calipers.core.records import Rate, RobustnessReport
from calipers.core.tables import Row
from calipers.train import Recipe
from calipers.verify import Verifier


@dataclass(frozen=True)
class Budget:
    """How much to spend: samples per experiment (fewer on `large` networks), seconds per sample of a search, training.

    epochs, images: of the training set (None: all of it). complete_large: search on large networks too.
    """

    name: str
    samples: int
    large: int
    timeout: float
    epochs: int
    images: int | None
    complete_large: bool


QUICK = Budget("quick", samples=20, large=2, timeout=2.0, epochs=2, images=20_000, complete_large=False)
FULL = Budget("full", samples=100, large=100, timeout=60.0, epochs=10, images=None, complete_large=True)


@dataclass(frozen=True)
class Published:
    """Weights that the authors publish: a file in the folder that the user names."""

    architecture: str
    file: str


@dataclass(frozen=True)
class Trained:
    """Weights by our own recipe."""

    recipe: Recipe


@dataclass(frozen=True)
class Experiment:
    """One network under one threat model (linf); every method answers the same question.

    label: what the rows are called. unit, domain: of the threat model. paper: the paper's rates by method and radius;
    paper_seconds: its seconds per image, likewise. A paper's method that is not among ours gets a row of its own.
    """

    label: str
    network: Published | Trained
    data: str
    epsilons: tuple[float, ...]
    unit: str
    domain: tuple[float, float] | None
    attacks: tuple[Attack, ...]
    verifiers: tuple[Verifier, ...]
    samples: int
    paper: Mapping[tuple[str, float], float] = field(default_factory=dict)
    paper_seconds: Mapping[tuple[str, float], float] = field(default_factory=dict)

    @property
    def work(self) -> int:
        """Samples to go through, over all methods and radii."""
        return self.samples * (1 + len(self.epsilons) * (len(self.attacks) + len(self.verifiers)))


@dataclass(frozen=True)
class Finding:
    """An experiment and what came out of it."""

    experiment: Experiment
    report: RobustnessReport

    def row(self, method: str, epsilon: float) -> Rate | None:
        """A method's rate over the correctly classified samples, as in the papers; None if it did not run."""
        name = f"{method}|correct"
        return next((rate for rate in self.report.rates if rate.name == name and rate.epsilon == epsilon), None)

    def rows(self) -> list[Row]:
        """Every rate with the paper's beside it, then every time, then what only the paper has."""
        experiment, spec = self.experiment, self.report.spec
        threat = partial(Row, norm=spec.norm, epsilon_unit=spec.unit)
        rows, times = [], []
        for rate in self.report.rates:
            method = rate.name.removesuffix("|correct")
            key = (method, rate.epsilon or 0.0)
            name = f"{experiment.label} {rate.name}"
            rows.append(Row.of_rate(name, rate, spec.norm, spec.unit, experiment.paper.get(key)))
            if rate.seconds is not None and method == rate.name:
                paper = experiment.paper_seconds.get(key)
                times.append(threat(f"{name} time", rate.seconds, rate.n, "s/image", paper, epsilon=rate.epsilon))
        ours = {rate.name for rate in self.report.rates}
        alone = [
            threat(f"{experiment.label} {method} (paper only)|correct", None, 0, "fraction", value, epsilon=epsilon)
            for (method, epsilon), value in experiment.paper.items()
            if method not in ours
        ]
        return rows + times + alone


def no_facts() -> tuple[Row, ...]:
    """No rows beyond the experiments'."""
    return ()


def no_experiments(budget: Budget) -> tuple[Experiment, ...]:
    """Nothing to measure."""
    return ()


@dataclass(frozen=True)
class Reproduction:
    """A table or figure of a paper. facts: rows that need no experiment. notes: what a reader has to know."""

    name: str
    title: str
    experiments: Callable[[Budget], tuple[Experiment, ...]] = no_experiments
    facts: Callable[[], tuple[Row, ...]] = no_facts
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reproduced:
    """What a reproduction found."""

    reproduction: Reproduction
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]

    @property
    def rows(self) -> list[Row]:
        """All rows, in the order of the table."""
        return [*self.reproduction.facts(), *(row for finding in self.findings for row in finding.rows())]
