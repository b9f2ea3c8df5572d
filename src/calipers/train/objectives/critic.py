"""Training against an adversary critic (Matyasko 2020, chapter 4; Matyasko & Chau, NeurIPS 2018)."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from calipers.attacks.high_confidence import Unrolled
from calipers.core.errors import InputError
from calipers.core.modes import constant, evaluating
from calipers.train.fit import check_fit
from calipers.train.objective import DataShape, Metrics, Objective, OptimizerMaker, Progress, State
from calipers.train.objectives.critic_losses import critic_loss, cycle_loss, fooling_loss
from calipers.train.objectives.critic_network import CriticNetwork
from calipers.train.objectives.critic_targets import Targets, nearest_targets, uniform_targets
from calipers.train.objectives.registry import OBJECTIVES, ObjectiveKind
from calipers.train.objectives.settings import LossSettings
from calipers.train.objectives.standard import Standard
from calipers.train.twice import check_twice_differentiable

# How much of the running confidence is kept per batch.
_DECAY = 0.5
_TARGETS: dict[str, Targets] = {"nearest": nearest_targets, "uniform": uniform_targets}


class CriticSettings(LossSettings):
    """fooling: weight lambda of what the critic is to be made believe; 0.5 for the thesis's MLP, 0.1 for its LeNet-5.

    cycle: weight of cycle consistency; 0 saves almost half of a step. penalty: of the critic's own gradient penalty.
    steps: of the unrolled attack. targets: the class with the nearest boundary, or drawn from the others. pretraining:
    epochs of cross-entropy alone at the start, within the recipe's. hidden: widths of the critic's layers.
    critic_rate, critic_beta1: of its Adam; the recipe's schedule applies to its rate too.
    """

    fooling: float = Field(default=0.5, ge=0)
    cycle: float = Field(default=0.01, ge=0)
    penalty: float = Field(default=10.0, ge=0)
    steps: int = Field(default=5, ge=1)
    targets: Literal["nearest", "uniform"] = "nearest"
    pretraining: int = Field(default=1, ge=0)
    hidden: tuple[int, ...] = Field(default=(1200, 1200), min_length=1)
    critic_rate: float = Field(default=1e-3, gt=0)
    critic_beta1: float = Field(default=0.5, ge=0, lt=1)


@dataclass(frozen=True)
class CriticTraining:
    """The objective whose critic is as large as the data ask for."""

    settings: CriticSettings

    def fitted(self, shape: DataShape) -> Objective:
        """See `Unfitted`."""
        if shape.classes < 2:
            raise InputError(f"critic: the data have {shape.classes} class; accepted: two or more, to attack towards")
        attack = Unrolled(self.settings.steps)
        return AdversaryCritic(self.settings, shape, attack, _TARGETS[self.settings.targets])


@dataclass(frozen=True)
class AdversaryCritic:
    """The classifier minimises cross-entropy + lambda times what its adversarial inputs fail to fool the critic.

    The attack goes through `Unrolled`, so its gradient reaches the classifier's weights; its confidence is the running
    mean of those of natural inputs predicted as its target. One step of the critic, then one of the classifier. As in
    the author's code, the class of an adversarial input is what the classifier makes of it, and inputs whose prediction
    did not change do not count in the classifier's terms.
    """

    settings: CriticSettings
    shape: DataShape
    attack: Unrolled
    targets: Targets

    def init(self, model: nn.Module, optimizer: OptimizerMaker) -> State:
        """See `Objective`. Raises InputError for a model without an output per class, or without second derivatives."""
        check_fit("critic: the model", model, self.shape)
        check_twice_differentiable("critic", model, self.shape)
        inputs = torch.Size(self.shape.inputs).numel()
        parameter = next(model.parameters())
        critic = CriticNetwork(inputs, self.settings.hidden, self.shape.classes).to(parameter)
        own = torch.optim.Adam(critic.parameters(), self.settings.critic_rate, (self.settings.critic_beta1, 0.999))
        return State(
            {"model": model, "critic": critic},
            {"model": optimizer(model.parameters()), "critic": own},
            {"confidence": torch.ones(self.shape.classes).to(parameter)},
        )

    def step(self, state: State, x: Tensor, y: Tensor, progress: Progress) -> tuple[State, Metrics]:
        """See `Objective`."""
        model, critic = state.model.train(), state.networks["critic"].train()
        # BatchNorm's statistics change here; what is attacked afterwards must not have been evaluated before.
        clean = self.settings.penalised(Standard()).loss(model, x, y, progress)
        with evaluating(model):
            here = x.detach().requires_grad_(True)
            logits = model(here)
            own, predicted = logits.detach().softmax(1).max(1)
            confidence = updated(state.values["confidence"], own, predicted)
            if progress.epoch < self.settings.pretraining:
                _minimise(state.optimizers["model"], clean)
                value = float(clean.detach())
                return _with(state, confidence), {"loss": value, "clean": value, **_nothing()}
            targets = self.targets(here, logits)
            adversarial = self.attack(model, x, targets, confidence[targets])
            with torch.no_grad():
                became = model(adversarial).argmax(1)
            critical = critic_loss(critic, (x, y), (adversarial, became), self.settings.penalty)
            _minimise(state.optimizers["critic"], critical)
            changed = became != predicted
            cycle = clean.new_zeros(())
            if self.settings.cycle:
                back = self.attack(model, adversarial[changed].detach(), predicted[changed], own[changed])
                cycle = cycle_loss(x[changed], back)
        with constant(critic):
            fooling = fooling_loss(critic, adversarial[changed], became[changed])
            loss = clean + self.settings.fooling * fooling + self.settings.cycle * cycle
            _minimise(state.optimizers["model"], loss)
        terms = {"loss": loss, "clean": clean, "critic": critical, "fooling": fooling, "cycle": cycle}
        metrics = {name: float(term.detach()) for name, term in terms.items()}
        return _with(state, confidence), {**metrics, "changed": float(changed.float().mean())}


def updated(
    confidence: Float[Tensor, " classes"], own: Float[Tensor, " batch"], predicted: Int[Tensor, " batch"]
) -> Float[Tensor, " classes"]:
    """The running means of the confidence per predicted class, after a batch; classes that it lacks keep theirs."""
    count = torch.zeros_like(confidence).index_add_(0, predicted, torch.ones_like(own))
    total = torch.zeros_like(confidence).index_add_(0, predicted, own)
    mean = total / count.clamp_min(1)
    return torch.where(count > 0, _DECAY * confidence + (1 - _DECAY) * mean, confidence)


def _with(state: State, confidence: Tensor) -> State:
    return State(state.networks, state.optimizers, {**state.values, "confidence": confidence})


def _nothing() -> Metrics:
    """Metrics of pretraining, in which these play no part."""
    return dict.fromkeys(("critic", "fooling", "cycle", "changed"), 0.0)


def _minimise(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


OBJECTIVES.add("critic")(ObjectiveKind(CriticSettings, False, lambda settings, inner: CriticTraining(settings)))
