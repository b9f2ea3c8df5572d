"""What the store keeps: specifications of runs and per-sample records. Every type survives load(dump(x)) == x."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from calipers.core.digests import digest_json
from calipers.core.results import Termination
from calipers.core.threat import ThreatModel

FORMAT_VERSION = 1


class Kind(StrEnum):
    """Which question a record answers."""

    CLEAN = "clean"
    ATTACK = "attack"
    VERIFY = "verify"


class Outcome(StrEnum):
    """The answer: clean -> correct/wrong, attack -> broken/survived, verify -> verified/falsified/unknown."""

    CORRECT = "correct"
    WRONG = "wrong"
    BROKEN = "broken"
    SURVIVED = "survived"
    VERIFIED = "verified"
    FALSIFIED = "falsified"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class MethodSpec:
    """A method by name with every parameter it ran with, defaults included.

    minimum_norm: an attack that answers for all radii at once; its records have no epsilon but a distance.
    """

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)
    minimum_norm: bool = False


@dataclass(frozen=True)
class RunSpec:
    """All that decides a run's records. Two runs with the same `digest` compute the same thing.

    norm: of the perturbation, as `Distance` names it.
    scale: size of one epsilon unit per channel in raw values. batch_size: samples per unit of work.
    versions: of python, torch, numpy and calipers.
    """

    model: str
    model_digest: str
    weights: str | None
    data: str
    data_digest: str
    class_names: tuple[str, ...]
    samples: int
    norm: str
    epsilons: tuple[float, ...]
    unit: str
    scale: tuple[float, ...]
    domain: tuple[float, float] | None
    attacks: tuple[MethodSpec, ...]
    verifiers: tuple[MethodSpec, ...]
    seed: int
    batch_size: int
    versions: dict[str, str]
    format_version: int = FORMAT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "RunSpec":
        """Inverse of `to_dict`, also after a trip through JSON."""
        methods = {key: tuple(MethodSpec(**method) for method in raw[key]) for key in ("attacks", "verifiers")}
        tuples = {key: tuple(raw[key]) for key in ("class_names", "epsilons", "scale")}
        domain = None if raw["domain"] is None else tuple(raw["domain"])
        return cls(**{**raw, **methods, **tuples, "domain": domain})

    @property
    def digest(self) -> str:
        return digest_json(self.to_dict())

    def threat(self, epsilon: float) -> ThreatModel:
        """The settled threat model at one radius."""
        return ThreatModel(self.norm, epsilon, self.domain, self.unit, self.scale)


@dataclass(frozen=True)
class SampleRecord:
    """One method's answer about one sample at one epsilon (None for clean records and minimum-norm attacks).

    margin: clean and attack -> smallest specification row at the point; verify -> its proven lower bound.
    distance: attack only, of the adversarial example from the sample, in the run's norm and unit.
    prediction: class at the point (clean, attack). seconds: the sample's share of its batch.
    """

    sample_id: int
    label: int
    kind: Kind
    method: str
    epsilon: float | None
    outcome: Outcome
    termination: Termination
    margin: float | None
    distance: float | None
    prediction: int | None
    forwards: int
    backwards: int
    seconds: float
    seed: int
    message: str = ""


@dataclass(frozen=True)
class Rate:
    """A measured share of the samples with its 95 % interval; one row of every machine-readable output.

    name: clean, empirical, certified, undecided, attack:NAME or verify:NAME; "|correct" is appended where n counts
    the correctly classified samples only. seconds, slowest: median and largest per sample, where a method was timed.
    """

    name: str
    epsilon: float | None
    measured: float
    n: int
    low: float
    high: float
    seconds: float | None = None
    slowest: float | None = None

    def __str__(self) -> str:
        at = "" if self.epsilon is None else f" at {self.epsilon:g}"
        return f"{self.name}{at}: {self.measured:.1%} ({self.low:.1%} - {self.high:.1%}, n = {self.n})"


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


@dataclass(frozen=True)
class SanityWarning:
    """A reason to doubt the numbers, with its evidence."""

    code: str
    message: str
    evidence: str


@dataclass(frozen=True)
class RobustnessReport:
    """A finished run in numbers: clean >= empirical >= certified at every radius, and what is left between.

    per_class: (label, rates) for every class that occurs. seconds: working time. status: as in the store.
    """

    run_id: str
    spec: RunSpec
    command: str
    created: str
    seconds: float
    status: str
    rates: tuple[Rate, ...]
    per_class: tuple[tuple[int, tuple[Rate, ...]], ...]
    brackets: tuple[Bracket, ...]
    warnings: tuple[SanityWarning, ...]

    def rate(self, name: str, epsilon: float | None = None) -> Rate:
        """The row called `name` at `epsilon`; KeyError if the run has none, as where no attack or no verifier ran."""
        for row in self.rates:
            if row.name == name and row.epsilon == epsilon:
                return row
        raise KeyError(f"{name!r} was not measured at epsilon {epsilon}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "RobustnessReport":
        """Inverse of `to_dict`, also after a trip through JSON."""
        return cls(
            **{
                **raw,
                "spec": RunSpec.from_dict(raw["spec"]),
                "rates": tuple(Rate(**rate) for rate in raw["rates"]),
                "per_class": tuple((label, tuple(Rate(**rate) for rate in rates)) for label, rates in raw["per_class"]),
                "brackets": tuple(
                    Bracket(
                        **{
                            **bracket,
                            "undecided": tuple(bracket["undecided"]),
                            "timed_out": tuple(bracket["timed_out"]),
                        }
                    )
                    for bracket in raw["brackets"]
                ),
                "warnings": tuple(SanityWarning(**warning) for warning in raw["warnings"]),
            }
        )
