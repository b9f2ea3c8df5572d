"""A network for the 8x8 digits that come with scikit-learn: for examples and quick runs, from no paper."""

from torch import nn

from calipers.models.zoo.classifier import Classifier, convolution, dense
from calipers.models.zoo.entry import network


@network("digits.maxpool", "calipers", (1, 8, 8), 2698)
def maxpool() -> Classifier:
    """Two convolutions, each with a maxpool of overlapping windows, the second one padded. Inputs in [0, 1]."""
    stack = [
        *convolution(1, 8, 3, padding=1),
        nn.MaxPool2d(2, 1),
        *convolution(8, 16, 3),
        nn.MaxPool2d(3, 2, padding=1),
    ]
    return Classifier(*stack, nn.Flatten(), *dense(144, 10))
