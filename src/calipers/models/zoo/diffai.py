"""Networks of "Differentiable Abstract Interpretation for Provably Robust Neural Networks" (Mirman et al. 2018)."""

from torch import nn

from calipers.models.zoo.classifier import MNIST_SHAPE, Classifier, convolution, dense
from calipers.models.zoo.entry import network

PAPER = (
    "Mirman et al., Differentiable Abstract Interpretation for Provably Robust Neural Networks (ICML 2018), ConvSmall"
)


@network("diffai.convsmall", PAPER, MNIST_SHAPE, 89606)
def convsmall() -> Classifier:
    """ConvSmall for MNIST: two convolutions that halve the image, and one hidden layer. Inputs in [0, 1]."""
    stack = [*convolution(1, 16, 4, stride=2), *convolution(16, 32, 4, stride=2)]
    return Classifier(*stack, nn.Flatten(), *dense(800, 100, 10))
