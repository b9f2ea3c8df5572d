"""Dropout (Srivastava et al. 2014), a baseline of Matyasko 2020, table 3.1."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from calipers.train.objective import Progress
from calipers.train.objectives.registry import OBJECTIVES, ObjectiveKind
from calipers.train.objectives.settings import LossSettings


class DropoutSettings(LossSettings):
    """rate: the share of the inputs of fully connected layers that are dropped; 0.5 in the author's code.

    input_rate: of the network's own inputs; Srivastava et al. recommend 0.2, the thesis drops none.
    """

    rate: float = Field(default=0.5, ge=0, lt=1)
    input_rate: float = Field(default=0.0, ge=0, lt=1)


@dataclass(frozen=True)
class Dropout:
    """Cross-entropy of the network with some values dropped; afterwards it is as it was, without dropout layers."""

    settings: DropoutSettings

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """See `Loss`."""
        with dropping(model, self.settings.rate, self.settings.input_rate):
            return F.cross_entropy(model(x), y)


@contextmanager
def dropping(model: nn.Module, rate: float, input_rate: float) -> Iterator[None]:
    """Meanwhile, in train mode, values in front of layers are set to 0 and the others divided by 1 - rate.

    rate: in front of fully connected layers. input_rate: in front of the first layer that has weights, in the order in
    which the model lists its layers.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | _ConvNd)]
    rates = [
        (layer, input_rate if i == 0 else rate)
        for i, layer in enumerate(layers)
        if i == 0 or isinstance(layer, nn.Linear)
    ]
    hooks = [layer.register_forward_pre_hook(partial(_drop, share)) for layer, share in rates if share > 0]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _drop(rate: float, layer: nn.Module, inputs: tuple[Any, ...]) -> Any:
    return F.dropout(inputs[0], rate, layer.training)


OBJECTIVES.add("dropout")(
    ObjectiveKind(DropoutSettings, False, lambda settings, inner: settings.minimised(Dropout(settings)))
)
