"""What is compared, and what is kept: the run in which each model was measured."""

from dataclasses import dataclass
from typing import Any

from calipers.core.digests import digest_json
from calipers.core.errors import InputError
from calipers.evaluate.robustness.task import RobustnessTask
from calipers.store.codec import PlainCodec

KIND = "comparison"


@dataclass(frozen=True)
class Contender:
    """A model to compare. name: unique among them. made: how it was trained, in a few words, where that is known."""

    name: str
    made: str
    task: RobustnessTask

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"name": self.name, "made": self.made, "task": self.task.to_dict()}


@dataclass(frozen=True)
class ComparisonTask:
    """Two or more models, the same question to each. Raises InputError for fewer, or for one that is given twice."""

    contenders: tuple[Contender, ...]

    def __post_init__(self) -> None:
        if len(self.contenders) < 2:
            raise InputError(f"compare: {len(self.contenders)} model was given; accepted: two or more")
        seen: dict[str, str] = {}
        for one in self.contenders:
            if one.task.model_digest in seen:
                raise InputError(
                    f"compare: {seen[one.task.model_digest]} and {one.name} are the same network with the same "
                    "weights; accepted: models that differ"
                )
            seen[one.task.model_digest] = one.name

    @property
    def kind(self) -> str:
        return KIND

    @property
    def title(self) -> str:
        first = self.contenders[0].task
        radii = " ".join(f"{epsilon:g}" for epsilon in first.epsilons)
        names = ", ".join(one.name for one in self.contenders)
        return f"{names} on {first.data}, {first.samples} samples, {first.norm} {radii}"

    @property
    def digest(self) -> str:
        return digest_json([one.task.digest for one in self.contenders])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"contenders": [one.to_dict() for one in self.contenders]}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "ComparisonTask":
        """Inverse of `to_dict`, also after a trip through JSON."""
        parts = ((one["name"], one["made"], RobustnessTask.from_dict(one["task"])) for one in raw["contenders"])
        return cls(tuple(Contender(*part) for part in parts))


@dataclass(frozen=True)
class ModelUnit:
    """A model, measured whole. count: samples to go through."""

    number: int
    label: str
    count: int

    @property
    def name(self) -> str:
        return f"model-{self.number:03d}"

    @property
    def doing(self) -> str:
        return self.label


@dataclass(frozen=True)
class Measured:
    """The run that holds all records of a model."""

    number: int
    run_id: str


CODEC = PlainCodec(Measured, "number")
