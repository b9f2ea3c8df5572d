"""The first layer of models that take raw pixels and compute on normalised ones."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from calipers.core.errors import InputError


class Normalise(nn.Module):
    """(x - mean) / std per channel; x is (batch, channels, ...).

    mean, std: one value per channel, in the unit of the raw input. They are no trainable weights and stay out of
    state dicts. Raises InputError where the lengths differ or a std is not positive.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std):
            raise InputError(
                f"normalise: {len(mean)} means and {len(std)} standard deviations; give one each a channel"
            )
        if not all(value > 0 for value in std):
            raise InputError(f"normalise: standard deviations {tuple(std)} must all be > 0")
        self.std = [float(value) for value in std]
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("deviation", torch.tensor(std, dtype=torch.float32), persistent=False)

    def forward(self, x: Float[Tensor, "batch channels *rest"]) -> Float[Tensor, "batch channels *rest"]:
        shape = (-1, *([1] * (x.dim() - 2)))
        return (x - self.mean.reshape(shape)) / self.deviation.reshape(shape)

    def extra_repr(self) -> str:
        return f"mean={self.mean.tolist()}, std={self.std}"


def input_std(model: nn.Module) -> tuple[float, ...] | None:
    """The std by which the model's first layer divides its input; None where the first layer is no `Normalise`.

    Looks at the model itself, at its attribute `normalise`, and at the first module of an `nn.Sequential`.
    """
    if isinstance(model, Normalise):
        return tuple(model.std)
    named = getattr(model, "normalise", None)
    if isinstance(named, nn.Module):
        return input_std(named)
    if isinstance(model, nn.Sequential) and len(model) > 0:
        return input_std(model[0])
    return None
