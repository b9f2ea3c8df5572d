"""The one class of all zoo networks, and the pieces they are made of."""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from calipers.models.normalise import Normalise

MNIST_SHAPE = (1, 28, 28)
CIFAR10_SHAPE = (3, 32, 32)


class Classifier(nn.Module):
    """Raw inputs (batch, *input shape) -> logits (batch, classes): `main(normalise(x))`.

    State dicts hold `main.N.weight` and `main.N.bias` only.
    """

    def __init__(self, *layers: nn.Module, normalise: Normalise | None = None) -> None:
        super().__init__()
        self.normalise = nn.Identity() if normalise is None else normalise
        self.main = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
        return self.main(self.normalise(x))


def dense(*widths: int) -> list[nn.Module]:
    """Fully connected layers with ReLU between them; `widths` are inputs, hidden layers, outputs."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return layers[:-1]


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    """A convolution and its ReLU."""
    return [nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU()]
