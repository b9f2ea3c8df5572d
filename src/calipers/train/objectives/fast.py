"""Fast adversarial training (Wong et al., Fast is better than free, 2020): a random start and one step.

Such training can lose all robustness within an epoch. As in the authors' code, PGD looks after every epoch whether it
has; then the weights of the epoch before come back, and training is over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from pydantic import Field
from torch import Tensor, nn

from calipers.core.modes import frozen
from calipers.train.objective import Metrics, OptimizerMaker, Progress, State
from calipers.train.objectives.pgd import AdversarialPGD
from calipers.train.objectives.registry import OBJECTIVES, Inner, ObjectiveKind
from calipers.train.objectives.settings import LossSettings

# Names of weights among the values of a state start so.
_GOOD = "good."


class FastSettings(LossSettings):
    """step_size: of the one step, in radii. most_lost: by how much accuracy under PGD may fall from epoch to epoch.

    [adversary] says what PGD the check takes, its steps and their size.
    """

    step_size: float = Field(default=1.25, gt=0)
    most_lost: float = Field(default=0.2, ge=0, le=1)


@dataclass(frozen=True)
class FastAdversarial:
    """Cross-entropy after one step from a random start, guarded.

    The check takes the first batch of the training. Metrics: `robust` is what it said last, `stopped` is 1 once it has
    put back the last good weights; from then on they stay.
    """

    inner: Inner
    settings: FastSettings

    def init(self, model: nn.Module, optimizer: OptimizerMaker) -> State:
        """See `Objective`."""
        values = {"robust": torch.zeros(()), "stopped": torch.zeros(())}
        return State({"model": model}, {"model": optimizer(model.parameters())}, values)

    def step(self, state: State, x: Tensor, y: Tensor, progress: Progress) -> tuple[State, Metrics]:
        """See `Objective`."""
        if "x" not in state.values:
            state = _with(state, {"x": x, "y": y})
        stopped = bool(state.values["stopped"])
        model = state.model.train(not stopped)
        step = replace(self.inner, steps=1, step_size=self.settings.step_size)
        optimizer = state.optimizers["model"]
        optimizer.zero_grad(set_to_none=True)
        loss = self.settings.penalised(AdversarialPGD(step)).loss(model, x, y, progress)
        if not stopped:
            loss.backward()
            optimizer.step()
            if progress.batch + 1 == progress.batches:
                state = self.checked(state, progress)
        told = {name: float(state.values[name]) for name in ("robust", "stopped")}
        return state, {"loss": float(loss.detach()), **told}

    def checked(self, state: State, progress: Progress) -> State:
        """The state after the check of an epoch: these weights are good, or the last good ones are back."""
        model, x, y = state.model, state.values["x"], state.values["y"]
        moved = AdversarialPGD(self.inner.at(progress)).perturb(model, x, y)
        with frozen(model):
            robust = (model(moved).argmax(1) == y).float().mean()
        good = {name: value for name, value in state.values.items() if name.startswith(_GOOD)}
        if good and robust < state.values["robust"] - self.settings.most_lost:
            model.load_state_dict({name.removeprefix(_GOOD): value for name, value in good.items()})
            return _with(state, {"stopped": torch.ones(())})
        now = {f"{_GOOD}{name}": value.detach().clone() for name, value in model.state_dict().items()}
        return _with(state, {"robust": robust.cpu(), **now})


def _with(state: State, values: Mapping[str, Tensor]) -> State:
    return State(state.networks, state.optimizers, {**state.values, **values})


OBJECTIVES.add("fast")(ObjectiveKind(FastSettings, True, lambda settings, inner: FastAdversarial(inner, settings)))
