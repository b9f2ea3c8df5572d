"""Outcomes of methods: answers, how they ended, and their evidence."""

from dataclasses import dataclass, field
from enum import StrEnum

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from calipers.core.errors import InputError
from calipers.core.problem import Problem


class Verdict(StrEnum):
    """What is known about one instance."""

    VERIFIED = "verified"
    FALSIFIED = "falsified"
    UNKNOWN = "unknown"


class Termination(StrEnum):
    """How a method ended; `remedy` tells what to change."""

    COMPLETED = "completed"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    ERROR = "error"

    @property
    def remedy(self) -> str:
        return {
            Termination.COMPLETED: "nothing to do",
            Termination.TIMEOUT: "give more time, or a cheaper method",
            Termination.OUT_OF_MEMORY: "lower --memory or --batch-size, or choose a cheaper method",
            Termination.ERROR: "see the error message of the record",
        }[self]


class Remark(StrEnum):
    """What has to be known about how an attack went on one instance: reasons to trust a failure less."""

    NO_GRADIENT = "no gradient reaches the input"
    ZERO_GRADIENT = "gradients are zero"
    GRADIENT_NOT_FINITE = "gradients are NaN or infinite"
    OUTPUT_NOT_FINITE = "outputs are NaN"
    SEARCHED_WITHOUT = "a search without gradients joined"
    NOT_CONFIRMED = "what broke it in a batch does not break it alone"


@dataclass(frozen=True)
class Counterexample:
    """An input of the set on which the model breaks the specification. Only `replay` makes one."""

    x: Float[Tensor, "1 *shape"]
    margin: float

    def __post_init__(self) -> None:
        if not self.margin <= 0:
            raise InputError(f"counterexample: margin {self.margin:g} does not break the specification (must be <= 0)")

    @classmethod
    def replay(cls, model: nn.Module, problem: Problem, x: Tensor) -> "Counterexample":
        """Evaluate x on the model itself; raises InputError if x is outside the set or keeps the specification."""
        if not bool(problem.input_set.contains(x).all()):
            distance = float(problem.input_set.distance(x).max())
            raise InputError(
                f"counterexample: sample {problem.sample_id[0]} at distance {distance:g} is outside its set"
            )
        with torch.no_grad():
            margin = float(problem.specification.margins(model(x)).min())
        return cls(x, margin)


@dataclass(frozen=True)
class AttackResult:
    """What an attack reached, re-scored by the attack room's one final place; one entry per instance.

    adversarial: the best input found (the centre where nothing was found). margin: the smallest specification row
    there, in its batch and alone, whichever is larger; <= 0 is a success. distance: from the centre, in the set's norm
    and unit. forwards, backwards: passes spent on the instance. seconds: for the whole batch. remarks: the instances
    that each holds for; empty where nobody looked.
    """

    method: str
    adversarial: Float[Tensor, "batch *shape"]
    prediction: Int[Tensor, " batch"]
    margin: Float[Tensor, " batch"]
    distance: Float[Tensor, " batch"]
    forwards: Int[Tensor, " batch"]
    backwards: Int[Tensor, " batch"]
    seed: int
    seconds: float
    termination: Termination = Termination.COMPLETED
    remarks: dict[Remark, Bool[Tensor, " batch"]] = field(default_factory=dict)

    @property
    def success(self) -> Bool[Tensor, " batch"]:
        return self.margin <= 0


@dataclass(frozen=True)
class MinimumNormResult:
    """The nearest inputs an attack found, re-scored by the attack room's one final place; one entry per instance.

    adversarial: the nearest of all queries that broke the specification (the centre where none did). margin: the
    smallest specification row there, in its batch and alone, whichever is larger. distance: from the centre, in the
    problem's distance and unit; inf where nothing was found, 0 where the centre itself breaks the specification.
    clean_margin, clean_prediction: at the centre. forwards, backwards: passes spent on the instance, that at the centre
    included. seconds: for the whole batch. remarks: the instances that each holds for; empty where nobody looked.
    """

    method: str
    adversarial: Float[Tensor, "batch *shape"]
    prediction: Int[Tensor, " batch"]
    margin: Float[Tensor, " batch"]
    distance: Float[Tensor, " batch"]
    clean_margin: Float[Tensor, " batch"]
    clean_prediction: Int[Tensor, " batch"]
    forwards: Int[Tensor, " batch"]
    backwards: Int[Tensor, " batch"]
    seed: int
    seconds: float
    termination: Termination = Termination.COMPLETED
    remarks: dict[Remark, Bool[Tensor, " batch"]] = field(default_factory=dict)

    @property
    def success(self) -> Bool[Tensor, " batch"]:
        return self.distance.isfinite()


@dataclass(frozen=True)
class VerificationResult:
    """What a verifier proved; one entry per instance.

    lower: a lower bound of every specification row over the whole set, as far as it was worked out, with every rounding
    charged. witness: an input of the set that breaks the specification, if one was
    found. seconds: spent on the instance; what a batch shares is shared out. reasons: why an instance is not known,
    where more can be said than how the method ended; empty where nothing is said.
    """

    method: str
    verdicts: tuple[Verdict, ...]
    lower: Float[Tensor, "batch rows"]
    witness: tuple[Float[Tensor, "1 *shape"] | None, ...]
    seconds: tuple[float, ...]
    terminations: tuple[Termination, ...]
    reasons: tuple[str, ...] = ()
