"""Models on the device that a run computes on."""

import copy

import torch
from torch import Tensor, nn

from calipers.models.functions import FunctionModel
from calipers.models.presented import Presented


class Stationary(nn.Module):
    """A model that cannot be moved: its inputs go to where it is, and its answers come back."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x.cpu()).to(x.device)


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    """A copy of a presented model on a device; the model itself on the CPU.

    A function stays where its tensors are, since they are its own, and so does a model that cannot be copied
    (`Stationary`). A device without room raises as torch does.
    """
    if device.type == "cpu":
        return model
    inner = model.model if isinstance(model, Presented) else model
    if isinstance(inner, FunctionModel):
        return model if isinstance(model, Presented) and model.device.type != "cpu" else Stationary(model)
    try:
        copied = copy.deepcopy(model)
    except (RuntimeError, TypeError):  # tensors with a history, locks and handles
        return Stationary(model)
    copied = copied.to(device)
    if isinstance(copied, Presented):
        copied.device = device
    return copied
