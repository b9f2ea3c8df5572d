"""A run of robustness in numbers."""

from dataclasses import asdict, dataclass
from typing import Any

from calipers.core.rates import Rate
from calipers.core.tasks import Run
from calipers.core.warnings import SanityWarning
from calipers.evaluate.robustness.task import RobustnessTask


@dataclass(frozen=True)
class Bracket:
    """The jaws around one sample's robust radius.

    certified: the largest radius proven free of adversarial examples (None: none proven). distance: the smallest
    distance of an adversarial example found (None: none found; 0 for a sample that is misclassified as it is).
    undecided: radii of the run at which neither jaw closed. timed_out: methods that did not complete.
    """

    sample_id: int
    label: int
    prediction: int
    certified: float | None
    distance: float | None
    undecided: tuple[float, ...]
    timed_out: tuple[str, ...]

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "Bracket":
        """Inverse of `asdict`, also after a trip through JSON."""
        return cls(**{**raw, "undecided": tuple(raw["undecided"]), "timed_out": tuple(raw["timed_out"])})


@dataclass(frozen=True)
class RobustnessSummary:
    """What the records of a run come to: clean >= empirical >= certified at every radius, and what is left between.

    per_class: (label, rates) for every class that occurs.
    """

    rates: tuple[Rate, ...]
    per_class: tuple[tuple[int, tuple[Rate, ...]], ...]
    brackets: tuple[Bracket, ...]
    warnings: tuple[SanityWarning, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "RobustnessSummary":
        """Inverse of `to_dict`, also after a trip through JSON."""
        return cls(
            tuple(Rate(**rate) for rate in raw["rates"]),
            tuple((label, tuple(Rate(**rate) for rate in rates)) for label, rates in raw["per_class"]),
            tuple(map(Bracket.from_dict, raw["brackets"])),
            tuple(SanityWarning(**warning) for warning in raw["warnings"]),
        )


@dataclass(frozen=True)
class RobustnessReport:
    """A run in numbers. seconds: working time. status: as in the store. The rest: as of `RobustnessSummary`."""

    run_id: str
    task: RobustnessTask
    command: str
    created: str
    seconds: float
    status: str
    rates: tuple[Rate, ...]
    per_class: tuple[tuple[int, tuple[Rate, ...]], ...]
    brackets: tuple[Bracket, ...]
    warnings: tuple[SanityWarning, ...]

    @classmethod
    def of(cls, run: Run, found: RobustnessSummary) -> "RobustnessReport":
        """A run and what it comes to."""
        task = RobustnessTask.from_dict(run.task)
        where = (run.run_id, task, run.command, run.created, run.seconds, run.status)
        return cls(*where, found.rates, found.per_class, found.brackets, found.warnings)

    def rate(self, name: str, epsilon: float | None = None) -> Rate:
        """The row called `name` at `epsilon`; KeyError if the run has none, as where no attack or no verifier ran."""
        for row in self.rates:
            if row.name == name and row.epsilon == epsilon:
                return row
        raise KeyError(f"{name!r} was not measured at epsilon {epsilon}")
