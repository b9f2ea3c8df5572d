"""Averages of the weights along a training, which are saved instead of the last weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from calipers.core.devices import home_of
from calipers.data.images import ImageDataset
from calipers.train.objective import Progress

_BATCH = 500  # samples, where the statistics of BatchNorm are taken anew


@dataclass(frozen=True, eq=False)
class Average:
    """Of everything in a network's state; count: of the states in it. Integers are those of the newest state."""

    weights: dict[str, Tensor]
    count: int


class Averaging(BaseModel):
    """kind: ema, an exponential moving average over steps, or swa, the mean over the ends of epochs.

    decay: of ema, reached in the course of the first steps, min(decay, (1 + steps) / (10 + steps)). start: the share
    of the training that is over before it begins; 0.75 is usual for swa (Izmailov et al. 2018), which wants a learning
    rate that stays large.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["none", "ema", "swa"] = "none"
    decay: float = Field(default=0.999, ge=0, lt=1)
    start: float = Field(default=0.0, ge=0, lt=1)

    def updated(self, average: Average | None, model: nn.Module, progress: Progress) -> Average | None:
        """The average after a step; None as long as it has not begun."""
        ends_epoch = progress.batch + 1 == progress.batches
        over = (progress.epoch + (progress.batch + 1) / progress.batches) / progress.epochs
        if self.kind == "none" or over < self.start or (self.kind == "swa" and not ends_epoch):
            return average
        now = {name: value.detach() for name, value in model.state_dict().items()}
        if average is None:
            return Average({name: value.clone() for name, value in now.items()}, 1)
        steps = average.count
        kept = steps / (steps + 1) if self.kind == "swa" else min(self.decay, (1 + steps) / (10 + steps))
        weights = {
            name: torch.lerp(new, average.weights[name].to(new), kept) if new.is_floating_point() else new.clone()
            for name, new in now.items()
        }
        return Average(weights, steps + 1)

    def settle(self, model: nn.Module, dataset: ImageDataset) -> None:
        """Take the statistics of BatchNorm anew on the training data: those of the mean are not the mean of theirs.

        An exponential average is as close to the newest weights as its statistics are.
        """
        layers = list(_normalising(model))
        if self.kind != "swa" or not layers:
            return
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the mean over all batches
        model.train()
        with torch.no_grad():
            for first in range(0, len(dataset), _BATCH):
                model(dataset.batch(slice(first, first + _BATCH))[0].to(home_of(model)))
        model.eval()
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def _normalising(model: nn.Module) -> Iterator[nn.modules.batchnorm._BatchNorm]:
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.track_running_stats:
            yield layer
