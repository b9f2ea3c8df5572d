"""Networks for the 8x8 digits that come with scikit-learn: for examples and quick runs, from no paper.

`digits.small` and `digits.robust` come with weights, which are used where no others are given. They are what
`calipers train digits.small --out FILE.json` and the same with `digits.robust` write; the cards lie in weights/.
Of the 500 test digits they classify 472 and 471 correctly, 94.4 % and 94.2 % (`calipers measure --model digits.small
--data digits --samples 500 --eps 0.03`).
"""

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


@network("digits.small", "calipers", (1, 8, 8), 9786)
def small() -> Classifier:
    """Two convolutions that halve the image, and a dense layer. Inputs in [0, 1]."""
    return _halving()


@network("digits.robust", "calipers", (1, 8, 8), 9786)
def robust() -> Classifier:
    """The same network as `small`; its weights were trained on PGD within linf 0.1. Inputs in [0, 1]."""
    return _halving()


def _halving() -> Classifier:
    stack = [*convolution(1, 16, 4, stride=2, padding=1), *convolution(16, 32, 4, stride=2, padding=1)]
    return Classifier(*stack, nn.Flatten(), *dense(128, 10))
