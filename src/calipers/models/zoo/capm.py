"""Networks of "CAPM: Fast and Robust Verification on Maxpool-based CNN via Dual Network" (table 1)."""

from torch import nn

from calipers.models.normalise import Normalise
from calipers.models.zoo.classifier import CIFAR10_SHAPE, MNIST_SHAPE, Classifier, convolution, dense
from calipers.models.zoo.entry import network

PAPER = "CAPM: Fast and Robust Verification on Maxpool-based CNN via Dual Network, table 1"
GUESSED = "the layout is not published; this is the natural one with the published count"


def mnist_normalise() -> Normalise:
    """Section 3.1: mean 0.5, standard deviation 0.5."""
    return Normalise([0.5], [0.5])


def cifar10_normalise() -> Normalise:
    """Section 3.1: the means and standard deviations of red, green and blue."""
    return Normalise([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def block(inputs: int, outputs: int, kernel: int, stride: int, padding: int, pool: int) -> list[nn.Module]:
    """Convolution, ReLU and a 2x2 maxpool with stride `pool`."""
    return [*convolution(inputs, outputs, kernel, stride, padding), nn.MaxPool2d(2, pool)]


def small(channels: int, features: int, normalise: Normalise) -> Classifier:
    """ConvSmall: overlapping 2x2 windows with stride 1 after both convolutions."""
    stack = [*block(channels, 16, 4, 2, 1, pool=1), *block(16, 32, 4, 2, 1, pool=1)]
    return Classifier(*stack, nn.Flatten(), *dense(features, 100, 10), normalise=normalise)


def medium(channels: int, features: int, normalise: Normalise) -> Classifier:
    """ConvMed: windows that do not overlap."""
    stack = [*block(channels, 16, 2, 1, 1, pool=2), *block(16, 32, 2, 1, 1, pool=2)]
    return Classifier(*stack, nn.Flatten(), *dense(features, 100, 10), normalise=normalise)


@network("capm.convsmall", PAPER, MNIST_SHAPE, 89606)
def convsmall() -> Classifier:
    """ConvSmall for MNIST; weights are published with the paper."""
    return small(1, 800, mnist_normalise())


@network("capm.convmed", PAPER, MNIST_SHAPE, 160070)
def convmed() -> Classifier:
    """ConvMed for MNIST; weights are published with the paper."""
    return medium(1, 1568, mnist_normalise())


@network("capm.convbig", PAPER, MNIST_SHAPE, 893418)
def convbig() -> Classifier:
    """ConvBig for MNIST."""
    stack = [
        *block(1, 32, 3, 1, 1, pool=1),
        *block(32, 32, 4, 1, 0, pool=1),
        *block(32, 64, 3, 1, 0, pool=1),
        *block(64, 64, 4, 2, 0, pool=2),
    ]
    return Classifier(*stack, nn.Flatten(), *dense(1024, 512, 512, 10), normalise=mnist_normalise())


@network("capm.convsmall_cifar10", PAPER, CIFAR10_SHAPE, 125318)
def convsmall_cifar10() -> Classifier:
    """ConvSmall for CIFAR-10."""
    return small(3, 1152, cifar10_normalise())


@network("capm.convmed_cifar10", PAPER, CIFAR10_SHAPE, 208198)
def convmed_cifar10() -> Classifier:
    """ConvMed for CIFAR-10."""
    return medium(3, 2048, cifar10_normalise())


@network("capm.convbig_cifar10", PAPER, CIFAR10_SHAPE, 2466858)
def convbig_cifar10() -> Classifier:
    """ConvBig for CIFAR-10."""
    stack = [
        *block(3, 32, 3, 1, 1, pool=1),
        *block(32, 32, 4, 1, 1, pool=2),
        *block(32, 64, 3, 1, 0, pool=1),
        *block(64, 64, 4, 1, 0, pool=1),
    ]
    return Classifier(*stack, nn.Flatten(), *dense(4096, 512, 512, 10), normalise=cifar10_normalise())


@network("capm.conv_s", PAPER, MNIST_SHAPE, 9538, GUESSED)
def conv_s() -> Classifier:
    """conv_S, made for the comparison with alpha-beta-CROWN (pool stride = kernel)."""
    stack = [*block(1, 16, 4, 2, 1, pool=2), *block(16, 32, 4, 2, 1, pool=2)]
    return Classifier(*stack, nn.Flatten(), *dense(32, 24, 10), normalise=mnist_normalise())


@network("capm.conv_m", PAPER, MNIST_SHAPE, 19162, GUESSED)
def conv_m() -> Classifier:
    """conv_M, made for the comparison with alpha-beta-CROWN (pool stride = kernel)."""
    stack = [*block(1, 8, 2, 1, 0, pool=2), *block(8, 8, 2, 1, 0, pool=2), *block(8, 32, 2, 1, 0, pool=2)]
    return Classifier(*stack, nn.Flatten(), *dense(128, 128, 10), normalise=mnist_normalise())


@network("capm.conv_l", PAPER, MNIST_SHAPE, 568426, GUESSED)
def conv_l() -> Classifier:
    """conv_L, made for the comparison with alpha-beta-CROWN (pool stride = kernel)."""
    stack = [*block(1, 32, 2, 1, 1, pool=2), *block(32, 64, 2, 1, 1, pool=2), *block(64, 128, 2, 1, 1, pool=2)]
    return Classifier(*stack, nn.Flatten(), *dense(2048, 256, 10), normalise=mnist_normalise())
