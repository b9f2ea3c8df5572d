"""Published architectures by name. A new network is one decorated function; a new source is one file and one import."""

from calipers.models.zoo import capm, diffai, digits, hybrid, shi, small, thesis
from calipers.models.zoo.classifier import Classifier
from calipers.models.zoo.entry import ZOO, ZooEntry, network

__all__ = ["ZOO", "Classifier", "ZooEntry", "capm", "diffai", "digits", "hybrid", "network", "shi", "small", "thesis"]
