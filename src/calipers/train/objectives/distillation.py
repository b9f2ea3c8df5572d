"""Defensive distillation (Papernot et al. 2016): a network learns from another's probabilities at a temperature.

It is here as a baseline: what it adds is masked gradients (Carlini & Wagner 2017).
"""

import copy
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from calipers.core.errors import InputError
from calipers.core.modes import frozen
from calipers.models.loading import load_model
from calipers.train.fit import check_fit
from calipers.train.objective import DataShape, Loss, Metrics, Objective, OptimizerMaker, Progress, State
from calipers.train.objectives.registry import OBJECTIVES, ObjectiveKind
from calipers.train.objectives.settings import LossSettings


class DistillationSettings(LossSettings):
    """temperature: by which logits are divided in training; there is none afterwards.

    teacher: the card of a saved model, or a name of the zoo, trained at the same temperature; without it, a network of
    the same architecture is trained first. share: of the epochs, for that.
    """

    temperature: float = Field(default=20.0, gt=0)
    teacher: str | None = None
    share: float = Field(default=0.5, gt=0, lt=1)


def soft_cross_entropy(
    logits: Float[Tensor, "batch classes"], target: Float[Tensor, "batch classes"], temperature: float
) -> Float[Tensor, ""]:
    """Mean cross-entropy of probabilities at a temperature with those of other logits at the same temperature."""
    return F.cross_entropy(logits / temperature, (target / temperature).softmax(1))


@dataclass(frozen=True)
class DistillationTraining:
    """The objective with its teacher, given or to be trained."""

    settings: DistillationSettings

    def fitted(self, shape: DataShape) -> Objective:
        """See `Unfitted`."""
        settings = self.settings
        if settings.teacher is None:
            return TaughtFirst(settings)
        teacher = load_model(settings.teacher).module.to(shape.device)
        check_fit(f"distillation: teacher {settings.teacher}", teacher, shape)
        return settings.minimised(Distilled(teacher, settings.temperature))


@dataclass(frozen=True, eq=False)
class Distilled:
    """`soft_cross_entropy` with a fixed teacher."""

    teacher: nn.Module
    temperature: float

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """See `Loss`."""
        with frozen(self.teacher):
            target = self.teacher(x)
        return soft_cross_entropy(model(x), target, self.temperature)


@dataclass(frozen=True)
class AtTemperature:
    """Cross-entropy at a temperature."""

    temperature: float

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """See `Loss`."""
        return F.cross_entropy(model(x) / self.temperature, y)


@dataclass(frozen=True)
class TaughtFirst:
    """A teacher of the same architecture and first weights learns for a share of the epochs, then the model from it."""

    settings: DistillationSettings

    def init(self, model: nn.Module, optimizer: OptimizerMaker) -> State:
        """See `Objective`."""
        networks = {"model": model, "teacher": copy.deepcopy(model)}
        return State(networks, {name: optimizer(network.parameters()) for name, network in networks.items()})

    def step(self, state: State, x: Tensor, y: Tensor, progress: Progress) -> tuple[State, Metrics]:
        """See `Objective`. Raises InputError if there are not two epochs."""
        if progress.epochs < 2:
            raise InputError("distillation: 1 epoch; accepted: 2 or more, for the teacher and then for the model")
        first = min(max(1, round(self.settings.share * progress.epochs)), progress.epochs - 1)
        learner = "teacher" if progress.epoch < first else "model"
        part = State({"model": state.networks[learner]}, {"model": state.optimizers[learner]})
        loss: Loss = AtTemperature(self.settings.temperature)
        if learner == "model":
            loss = Distilled(state.networks["teacher"], self.settings.temperature)
        _, metrics = self.settings.minimised(loss).step(part, x, y, progress)
        return state, {**metrics, "teaching": float(learner == "teacher")}


OBJECTIVES.add("distillation")(
    ObjectiveKind(DistillationSettings, False, lambda settings, inner: DistillationTraining(settings))
)
