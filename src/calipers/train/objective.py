"""What a training step does: objectives own their networks, optimisers and state."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from calipers.core.devices import CPU, home_of

Metrics = dict[str, float]


@dataclass(frozen=True)
class Progress:
    """Where a step is: batch `batch` of `batches` in epoch `epoch` of `epochs`, all counted from 0."""

    epoch: int
    epochs: int
    batch: int
    batches: int

    @property
    def share(self) -> float:
        """The share of the training that is over, in [0, 1)."""
        return (self.epoch * self.batches + self.batch) / (self.epochs * self.batches)


@dataclass(frozen=True, eq=False)
class State:
    """All that changes while an objective is trained, part by part. networks: "model" is the classifier.

    values: tensors such as running means. Everything here goes into checkpoints, under its name.
    """

    networks: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]
    values: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def model(self) -> nn.Module:
        """The classifier."""
        return self.networks["model"]

    def parts(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "values": dict(self.values),
        }

    @property
    def finite(self) -> bool:
        """Whether all weights are."""
        parameters = (one for network in self.networks.values() for one in network.state_dict().values())
        return all(bool(one.isfinite().all()) for one in parameters if one.is_floating_point())

    def restored(self, parts: Mapping[str, Any]) -> "State":
        """The state that `parts`, on the CPU, was taken of; networks and optimisers take it over in place."""
        for name, network in self.networks.items():
            network.load_state_dict(parts["networks"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(parts["optimizers"][name])
        device = home_of(self.model)
        values = {name: value.to(device) for name, value in parts["values"].items()}
        return State(self.networks, self.optimizers, values)


# Makes the optimiser of the recipe for some parameters.
OptimizerMaker = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


@runtime_checkable
class Objective(Protocol):
    """One way to train. Random draws come from the global generator, which the trainer seeds per batch."""

    def init(self, model: nn.Module, optimizer: OptimizerMaker) -> State:
        """The state before the first step, on the model to be trained."""

    def step(self, state: State, x: Tensor, y: Tensor, progress: Progress) -> tuple[State, Metrics]:
        """One step on a batch. Metrics hold "loss", which has to stay finite, and whatever else is worth a curve."""


@dataclass(frozen=True)
class DataShape:
    """What an objective may have to know of the data: the shape of one input, how many classes, and where they come."""

    inputs: tuple[int, ...]
    classes: int
    device: torch.device = CPU


@runtime_checkable
class Unfitted(Protocol):
    """What becomes an objective once the data are known, because networks of its own depend on them."""

    def fitted(self, shape: DataShape) -> Objective:
        """The objective. Raises InputError where it does not fit the data."""


def fitted(objective: Objective | Unfitted, shape: DataShape) -> Objective:
    """The objective for data of this shape."""
    return objective.fitted(shape) if isinstance(objective, Unfitted) else objective


@runtime_checkable
class Loss(Protocol):
    """A scalar to minimise over the weights of the classifier alone."""

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor: ...


@dataclass(frozen=True)
class Minimised:
    """The objective of a loss: one optimiser, one step down its gradient per batch."""

    of: Loss

    def init(self, model: nn.Module, optimizer: OptimizerMaker) -> State:
        """See `Objective`."""
        return State({"model": model}, {"model": optimizer(model.parameters())})

    def step(self, state: State, x: Tensor, y: Tensor, progress: Progress) -> tuple[State, Metrics]:
        """See `Objective`."""
        optimizer = state.optimizers["model"]
        state.model.train()
        optimizer.zero_grad(set_to_none=True)
        loss = self.of.loss(state.model, x, y, progress)
        loss.backward()
        optimizer.step()
        return state, {"loss": float(loss.detach())}
