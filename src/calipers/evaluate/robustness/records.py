"""What a run of robustness keeps about every sample, and how the store keeps it."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from calipers.core.results import Termination


class Question(StrEnum):
    """Which question a record answers."""

    CLEAN = "clean"
    ATTACK = "attack"
    VERIFY = "verify"
    CERTIFY = "certify"


class Outcome(StrEnum):
    """The answer: clean -> correct/wrong, attack -> broken/survived, verify -> verified/falsified/unknown.

    certify -> verified, where the checker accepts the evidence of a proof, else unknown.
    """

    CORRECT = "correct"
    WRONG = "wrong"
    BROKEN = "broken"
    SURVIVED = "survived"
    VERIFIED = "verified"
    FALSIFIED = "falsified"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class SampleRecord:
    """One method's answer about one sample at one epsilon (None for clean records and minimum-norm attacks).

    margin: clean and attack -> smallest specification row at the point; verify -> its proven lower bound.
    distance: attack only, of the adversarial example from the sample, in the run's norm and unit.
    prediction: class at the point (clean, attack). seconds: the sample's share of its batch.
    """

    sample_id: int
    label: int
    question: Question
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


class SampleCodec:
    """Sample records in the store: a sample has one answer per question, method and radius."""

    def place(self, record: SampleRecord) -> int:
        """See `Codec`."""
        return record.sample_id

    def part(self, record: SampleRecord) -> str:
        """See `Codec`."""
        return f"{record.question}:{record.method}" + ("" if record.epsilon is None else f"@{record.epsilon!r}")

    def dump(self, record: SampleRecord) -> dict[str, Any]:
        """See `Codec`."""
        return asdict(record)

    def load(self, raw: dict[str, Any]) -> SampleRecord:
        """See `Codec`."""
        enums = {
            "question": Question(raw["question"]),
            "outcome": Outcome(raw["outcome"]),
            "termination": Termination(raw["termination"]),
        }
        return SampleRecord(**{**raw, **enums})
