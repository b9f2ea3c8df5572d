"""The adversary critic (Matyasko 2020, figure 4.3): output k tells natural from adversarial inputs of class k."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Section 4.5 adds Gaussian noise to the input of every layer; these are the deviations of the author's code.
_INPUT_NOISE, _HIDDEN_NOISE = 0.1, 0.5
_LEAK = 0.2


class GaussianNoise(nn.Module):
    """Adds N(0, deviation^2) in train mode, from the global CPU generator."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x + self.deviation * torch.randn(x.shape, dtype=x.dtype).to(x.device)


class CriticNetwork(nn.Module):
    """Inputs (batch, *shape) -> logits (batch, classes) of being natural, one for each class.

    Fully connected, leaky ReLU, noise on the input of every layer, He-normal weights.
    """

    def __init__(self, inputs: int, hidden: tuple[int, ...], classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten(), GaussianNoise(_INPUT_NOISE)]
        for one, two in pairwise((inputs, *hidden)):
            layers += [nn.Linear(one, two), nn.LeakyReLU(_LEAK), GaussianNoise(_HIDDEN_NOISE)]
        self.main = nn.Sequential(*layers, nn.Linear((inputs, *hidden)[-1], classes))
        for layer in self.main:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
        return self.main(x)
