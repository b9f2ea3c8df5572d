"""Models that an objective uses and does not train."""

import torch
from torch import nn

from calipers.core.errors import InputError
from calipers.train.objective import DataShape


def fixed(name: str, model: nn.Module, shape: DataShape) -> nn.Module:
    """The model where the data come. name: as messages have it.

    Raises InputError unless it takes such inputs and has one output per class.
    """
    model = model.to(shape.device)
    try:
        with torch.no_grad():
            outputs = model(torch.zeros(2, *shape.inputs, device=shape.device))
    except RuntimeError as error:
        raise InputError(f"{name} does not take inputs of shape {shape.inputs} ({error})") from error
    if outputs.shape != (2, shape.classes):
        raise InputError(f"{name} has {outputs.shape[-1]} outputs; accepted: {shape.classes}, one per class")
    return model
