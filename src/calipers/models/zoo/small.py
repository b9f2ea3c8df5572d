"""Networks in the shape of published ones at a fraction of their width: for quick runs, from no paper."""

from torch import nn

from calipers.models.zoo.classifier import CIFAR10_SHAPE, MNIST_SHAPE, Classifier, convolution, dense
from calipers.models.zoo.entry import network
from calipers.models.zoo.initialise import he_normal
from calipers.models.zoo.thesis import network_in_network


@network("small.mlp", "calipers", MNIST_SHAPE, 335114, note="thesis.critic_mlp in small; He-normal weights")
def mlp() -> Classifier:
    """784-256-256-256-10. Inputs in [0, 1]."""
    return he_normal(Classifier(nn.Flatten(), *dense(784, 256, 256, 256, 10)))


@network("small.lenet5", "calipers", MNIST_SHAPE, 37610, note="thesis.critic_lenet5 in small; He-normal weights")
def lenet5() -> Classifier:
    """Two 5x5 convolutions with 2x2 maxpools and one hidden layer. Inputs in [0, 1]."""
    stack = [*convolution(1, 8, 5), nn.MaxPool2d(2), *convolution(8, 16, 5), nn.MaxPool2d(2)]
    return he_normal(Classifier(*stack, nn.Flatten(), *dense(256, 128, 10)))


@network("small.convpool", "calipers", MNIST_SHAPE, 89606, note="diffai.convsmall, its first stride made a maxpool")
def convpool() -> Classifier:
    """A 4x4 convolution with a 2x2 maxpool, one that halves the image, and one hidden layer. Inputs in [0, 1]."""
    stack = [*convolution(1, 16, 4), nn.MaxPool2d(2), *convolution(16, 32, 4, stride=2)]
    return he_normal(Classifier(*stack, nn.Flatten(), *dense(800, 100, 10)))


@network(
    "small.nin", "calipers", CIFAR10_SHAPE, 63770, note="thesis.nin in small, for whitened inputs; He-normal weights"
)
def nin() -> Classifier:
    """A quarter of the width, every other place of the first convolution, no dropout, no ReLU at the end."""
    return he_normal(network_in_network((48, 40, 24), (48, 48, 48), stride=2, dropout=0.0, rectified=False))
