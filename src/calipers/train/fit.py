"""Whether a model fits the data and what is to be done with it."""

import torch
from torch import Tensor, nn

from calipers.core.errors import InputError
from calipers.core.modes import evaluating
from calipers.models.single import TwoLogits, within_one
from calipers.train.objective import DataShape


def check_fit(name: str, model: nn.Module, shape: DataShape, data: str = "the data", *, single: bool = False) -> None:
    """Raise InputError unless the model takes such inputs and has one output per class.

    name, data: of both, as the message has them. single: for two classes, one output whose sign tells them will do.
    """
    x = torch.zeros(2, *shape.inputs)
    x = x.to(next(model.parameters(), x))
    try:
        with torch.no_grad(), evaluating(model):
            outputs = model(x)
    except RuntimeError as error:
        raise InputError(f"{name} does not take inputs of shape {shape.inputs} ({error})") from error
    classes = shape.classes
    binary = single and classes == 2
    wanted = f"accepted: a model with {_counted(classes, 'output')}, one per class, in a tensor (batch, {classes})"
    if binary:
        wanted += ", or with 1 output whose sign tells the two apart"
    if not isinstance(outputs, Tensor):
        raise InputError(f"{name} returns a {type(outputs).__name__}; {wanted}")
    if outputs.dim() != 2 or len(outputs) != 2:
        raise InputError(f"{name} returns the shape {tuple(outputs.shape)} for 2 inputs; {wanted}")
    found = outputs.shape[1]
    if found != classes and not (binary and found == 1):
        raise InputError(f"{name} has {_counted(found, 'output')}, {data} {_counted(classes, 'class', 'es')}; {wanted}")


def two_logits(name: str, model: nn.Module, shape: DataShape) -> nn.Module:
    """The model, with two outputs where it has one and the data two classes: class 1 is where its logit is positive.

    Raises InputError where the one output is a probability, whose sign tells nothing. name: as the message has it.
    """
    x = torch.zeros(2, *shape.inputs)
    x = x.to(next(model.parameters(), x))
    with evaluating(model):
        try:
            with torch.no_grad():
                outputs = model(x)
        except RuntimeError:
            return model  # `check_fit` says why it does not fit
        if shape.classes != 2 or not isinstance(outputs, Tensor) or outputs.shape != (2, 1):
            return model
        if within_one(model, x):
            raise InputError(
                f"{name} returns one value in [0, 1], a probability; accepted for two classes: the logit in front of "
                "its last sigmoid, or two outputs"
            )
    return TwoLogits(model)


def _counted(count: int, noun: str, plural: str = "s") -> str:
    return f"{count} {noun}{plural if count != 1 else ''}"


def check_trainable(name: str, model: nn.Module) -> None:
    """Raise InputError unless the model has weights with gradients. name: as the message has it."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError(f"{name} has no weights to train; accepted: a module with parameters that require gradients")
