"""The network of "Fast Certified Robust Training with Short Warmup" (Shi et al. 2021), used by CTBench too."""

from itertools import pairwise

from torch import nn

from calipers.models.zoo.classifier import MNIST_SHAPE, Classifier
from calipers.models.zoo.entry import network

PAPER = "Shi et al., Fast Certified Robust Training with Short Warmup (NeurIPS 2021), CNN-7"


@network("shi.cnn7", PAPER, MNIST_SHAPE)
def cnn7() -> Classifier:
    """Five 3x3 convolutions, the third with stride 2, and a hidden layer, each with BatchNorm. Inputs in [0, 1]."""
    stack: list[nn.Module] = []
    for (inputs, outputs), stride in zip(pairwise((1, 64, 64, 128, 128, 128)), (1, 1, 2, 1, 1), strict=True):
        stack += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
    head = [nn.Linear(128 * 14 * 14, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 10)]
    return Classifier(*stack, nn.Flatten(), *head)
