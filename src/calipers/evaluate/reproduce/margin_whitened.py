"""Table 3.2 of Matyasko's thesis (2020): margin maximisation of Network in Network on whitened CIFAR-10."""

from dataclasses import dataclass

from calipers.evaluate.reproduce.choices import FirstCorrect
from calipers.evaluate.reproduce.experiment import Budget, Reproduction
from calipers.evaluate.reproduce.margin_figures import NIN, WhitenedLine
from calipers.evaluate.reproduce.network import Trained
from calipers.evaluate.reproduce.relative_experiment import Corrupted, RelativeExperiment
from calipers.train import Optimizer, Recipe
from calipers.train.augmentation import Augmentation
from calipers.train.schedule import Schedule
from calipers.train.validation import Validation
from calipers.train.whitening import WhiteningSettings
