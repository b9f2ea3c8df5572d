"""Networks of Matyasko's thesis (2020): margin maximisation (chapter 3), adversary critic (4), attack (5).

All take inputs in [0, 1] and do not normalise. The thesis publishes no parameter counts.
"""

from torch import nn

from calipers.models.zoo.classifier import CIFAR10_SHAPE, MNIST_SHAPE, Classifier, convolution, dense
from calipers.models.zoo.entry import network
from calipers.models.zoo.initialise import glorot_uniform, he_normal

THESIS = "Matyasko, Towards Deep Neural Networks Robust to Adversarial Examples (PhD thesis, NTU, 2020)"
MARGIN = f"{THESIS}, section 3.5 (margin maximisation)"
CRITIC = f"{THESIS}, section 4.5 (adversary critic)"
ATTACK = f"{THESIS}, section 5.4 (primal-dual proximal attack)"


def five_by_five(padding: int, features: int, hidden: int) -> Classifier:
    """Two 5x5 convolutions with 2x2 maxpools and one hidden layer: LeNet-5 as later work draws it."""
    stack = [*convolution(1, 32, 5, padding=padding), nn.MaxPool2d(2)]
    stack += [*convolution(32, 64, 5, padding=padding), nn.MaxPool2d(2)]
    return Classifier(*stack, nn.Flatten(), *dense(features, hidden, 10))


def network_in_network(
    first: tuple[int, int, int], second: tuple[int, int, int], stride: int, dropout: float, rectified: bool
) -> Classifier:
    """Channels of the first two blocks; the third has those of the second, and a channel per class at its end.

    stride: of the first convolution. dropout: after both pools; 0: no such layers. rectified: whether the maps of
    classes pass a ReLU before their mean is taken, as in the authors' network.
    """

    def block(inputs: int, widths: tuple[int, int, int], kernel: int, step: int = 1) -> list[nn.Module]:
        (a, b, c), padding = widths, kernel // 2
        return [*convolution(inputs, a, kernel, step, padding), *convolution(a, b, 1), *convolution(b, c, 1)]

    dropped = [nn.Dropout(dropout)] if dropout else []
    stack = [*block(3, first, 5, stride), nn.MaxPool2d(3, 2, ceil_mode=True), *dropped]
    stack += [*block(first[2], second, 5), nn.AvgPool2d(3, 2, ceil_mode=True), *dropped]
    last = block(second[2], (second[0], second[1], 10), 3)
    return Classifier(*stack, *(last if rectified else last[:-1]), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@network("thesis.mlp", MARGIN, MNIST_SHAPE, note="Glorot-uniform weights")
def mlp() -> Classifier:
    """784-1000-1000-1000-10."""
    return glorot_uniform(Classifier(nn.Flatten(), *dense(784, 1000, 1000, 1000, 10)))


@network("thesis.lenet5", MARGIN, MNIST_SHAPE, note="Glorot-uniform weights")
def lenet5() -> Classifier:
    """LeNet-5 of chapter 3."""
    return glorot_uniform(five_by_five(padding=0, features=1024, hidden=512))


@network(
    "thesis.nin",
    f"{MARGIN}; Lin, Chen & Yan, Network In Network (ICLR 2014)",
    CIFAR10_SHAPE,
    966986,
    note="for whitened inputs (recipes: [whitening]); dropout of 0.5 after both pools; He-normal weights",
)
def nin() -> Classifier:
    """Network in Network: three blocks of a convolution and two 1x1 ones, and the mean over the image of each class.

    The layers are those of the authors' published configuration, of which the paper draws the blocks only.
    """
    return he_normal(network_in_network((192, 160, 96), (192, 192, 192), stride=1, dropout=0.5, rectified=True))


@network("thesis.critic_mlp", CRITIC, MNIST_SHAPE, note="the classifier; He-normal weights")
def critic_mlp() -> Classifier:
    """784-1200-1200-1200-10."""
    return he_normal(Classifier(nn.Flatten(), *dense(784, 1200, 1200, 1200, 10)))


@network("thesis.critic_lenet5", CRITIC, MNIST_SHAPE, note="the classifier; He-normal weights")
def critic_lenet5() -> Classifier:
    """LeNet-5 of chapter 4."""
    return he_normal(five_by_five(padding=0, features=1024, hidden=512))


@network("thesis.madry", ATTACK, MNIST_SHAPE, note="the network of Madry et al. (2018); torch's initial weights")
def madry() -> Classifier:
    """The network of the MNIST challenge: 5x5 convolutions that keep the size."""
    return five_by_five(padding=2, features=3136, hidden=1024)


@network(
    "thesis.cifar10",
    ATTACK,
    CIFAR10_SHAPE,
    note="the network of the FAB attack, which pads stride-2 layers on one side only; torch's initial weights",
)
def cifar10() -> Classifier:
    """Eight convolutions, strides instead of pooling, and two fully connected layers."""
    stack: list[nn.Module] = []
    for inputs, outputs, stride in (
        (3, 96, 1),
        (96, 96, 1),
        (96, 192, 2),
        (192, 192, 1),
        (192, 192, 1),
        (192, 192, 2),
        (192, 192, 1),
    ):
        stack += convolution(inputs, outputs, 3, stride, 1)
    stack += convolution(192, 384, 2, 2)
    return Classifier(*stack, nn.Flatten(), *dense(6144, 1200, 10))
