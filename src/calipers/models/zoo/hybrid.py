"""Networks of "Repair of Convolutional Neural Networks using Convex Optimization: Preliminary Experiments"."""

from torch import nn

from calipers.models.zoo.classifier import CIFAR10_SHAPE, MNIST_SHAPE, Classifier, convolution, dense
from calipers.models.zoo.entry import network

PAPER = "Repair of Convolutional Neural Networks using Convex Optimization: Preliminary Experiments, section 3.1"


@network(
    "hybrid.mnist_nn",
    PAPER,
    MNIST_SHAPE,
    431080,
    "the paper says 407330: it counts a convolution kernel as k*k*(image channels) + 1",
)
def mnist_nn() -> Classifier:
    """MNIST-NN; the hybrids keep the 800 features after the second maxpool. Inputs in [0, 1]."""
    stack = [*convolution(1, 20, 5), nn.MaxPool2d(2), *convolution(20, 50, 5), nn.MaxPool2d(2)]
    return Classifier(*stack, nn.Flatten(), *dense(800, 500, 10))


@network(
    "hybrid.cifar10_nn",
    PAPER,
    CIFAR10_SHAPE,
    5851338,
    "the paper says 4747904: it counts a convolution kernel as k*k*(image channels) + 1 and leaves out the biases of "
    "the fully connected layers",
)
def cifar10_nn() -> Classifier:
    """CIFAR10-NN; the hybrids keep the 4096 features after the third maxpool. Inputs in [0, 1]."""
    stack: list[nn.Module] = []
    for inputs, middle, outputs in ((3, 32, 64), (64, 128, 128), (128, 256, 256)):
        stack += [*convolution(inputs, middle, 3, padding=1), *convolution(middle, outputs, 3, padding=1)]
        stack.append(nn.MaxPool2d(2))
    return Classifier(*stack, nn.Flatten(), *dense(4096, 1024, 512, 10))
