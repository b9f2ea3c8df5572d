"""Models with one output for two classes, as models with an output for each."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def against_zero(z: Float[Tensor, "batch 1"]) -> Float[Tensor, "batch 2"]:
    """One logit z per sample, class 1 where it is positive, as the logits 0 and z, whose difference is z itself."""
    return F.pad(z, (1, 0))


class AgainstZero(nn.Module):
    """`against_zero` as a layer."""

    def forward(self, z: Float[Tensor, "batch 1"]) -> Float[Tensor, "batch 2"]:
        return against_zero(z)


class TwoLogits(nn.Sequential):
    """A model with one logit, and what makes two of it. State dicts have the model's names behind "0."."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, AgainstZero())

    @property
    def model(self) -> nn.Module:
        """The model with one logit."""
        return self[0]


def within_one(answers: Callable[[Tensor], Tensor], inputs: Tensor) -> bool:
    """Whether values stay in [0, 1], at these inputs and far away from them: they are probabilities then."""
    noise = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = [answers(x) for x in (inputs, 100 * noise, -100 * noise)]
    return all(bool(((values >= 0) & (values <= 1)).all()) for values in found)
