"""Margin maximisation (Matyasko 2020, chapter 3; Matyasko & Chau, IJCNN 2017)."""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from calipers.core.errors import InputError
from calipers.core.norms import Norm
from calipers.train.fit import check_fit
from calipers.train.objective import DataShape, Metrics, Objective, OptimizerMaker, Progress, State
from calipers.train.objectives.margin_sensitivity import sensitivity
from calipers.train.objectives.registry import OBJECTIVES, ObjectiveKind
from calipers.train.objectives.settings import LossSettings
from calipers.train.twice import check_twice_differentiable, logits_twice, two_sided


class MarginSettings(LossSettings):
    """weight: C of the thesis, of the sensitivity; 0.1 for its l2 margin, 0.01 for its linf margin.

    norm: in which the margin is made large; the sensitivity is a dual norm, so what the thesis calls l1 is `linf` here.
    power: of the sensitivity; the thesis's figures are for the square in l2 and the norm itself in linf. rivals: only
    so many other classes come into question for it, those with the largest logits (default all). loss: on the margins.
    """

    weight: float = Field(default=0.1, ge=0)
    norm: Norm = Norm.L2
    power: Literal[1, 2] = 2
    rivals: int | None = Field(default=None, ge=1)
    loss: Literal["hinge", "cross-entropy"] = "hinge"


@dataclass(frozen=True)
class MarginTraining:
    """The objective for data of so many classes."""

    settings: MarginSettings

    def fitted(self, shape: DataShape) -> Objective:
        """See `Unfitted`."""
        if shape.classes < 2:
            raise InputError(f"margin: the data have {shape.classes} class; accepted: two or more, to be apart")
        return MarginObjective(self.settings.minimised(MarginMaximisation(self.settings)), shape)


@dataclass(frozen=True)
class MarginMaximisation:
    """mean of max(0, 1 + max_j f_j - f_y) + weight * sensitivity^power, j other than the label (equation 3.19).

    Equation 3.18 has the wrong sign in the first term. The sensitivity is that to the class where it is largest. A
    model with one output f is a binary classifier, of class 1 where f is positive: max(0, 1 - y f) + ... (3.14).
    """

    settings: MarginSettings

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """See `Loss`."""
        logits, again, here = logits_twice(model, x)
        steep = sensitivity(two_sided(again), here, y, self.settings.norm, self.settings.rivals)
        scores = two_sided(logits)
        on_margins = hinge(scores, y) if self.settings.loss == "hinge" else F.cross_entropy(scores, y)
        return on_margins + self.settings.weight * steep.pow(self.settings.power).mean()


def hinge(logits: Float[Tensor, "batch classes"], y: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Mean of max(0, 1 + max_j f_j - f_y), j other than y (Crammer & Singer 2001)."""
    own = logits.gather(1, y[:, None])
    other = logits.masked_fill(F.one_hot(y, logits.shape[1]).bool(), -float("inf")).amax(1)
    return (1 + other - own[:, 0]).clamp_min(0).mean()


@dataclass(frozen=True)
class MarginObjective:
    """The loss minimised, on models that have an output per class, or one output for two classes."""

    of: Objective
    shape: DataShape

    def init(self, model: nn.Module, optimizer: OptimizerMaker) -> State:
        """See `Objective`. Raises InputError where outputs are too few, or cannot be differentiated twice."""
        check_fit("margin: the model", model, self.shape, single=True)
        check_twice_differentiable("margin", model, self.shape)
        return self.of.init(model, optimizer)

    def step(self, state: State, x: Tensor, y: Tensor, progress: Progress) -> tuple[State, Metrics]:
        """See `Objective`."""
        return self.of.step(state, x, y, progress)


OBJECTIVES.add("margin")(ObjectiveKind(MarginSettings, False, lambda settings, inner: MarginTraining(settings)))
