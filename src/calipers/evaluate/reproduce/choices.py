"""Which images of a test split a figure or a mean is about."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from calipers.core.errors import InputError
from calipers.data.images import ImageDataset

# Which images of the test split, from a model and all of them.
Choice = Callable[[nn.Module, ImageDataset], tuple[int, ...]]


@dataclass(frozen=True)
class FirstImages:
    """The first so many, whatever they show and however they are classified."""

    count: int

    def __call__(self, model: nn.Module, data: ImageDataset) -> tuple[int, ...]:
        return tuple(range(min(self.count, len(data))))


@dataclass(frozen=True)
class FirstCorrect:
    """The first so many of those that the model classifies correctly, which are what equation 3.20 averages over."""

    count: int

    def __call__(self, model: nn.Module, data: ImageDataset) -> tuple[int, ...]:
        chosen: list[int] = []
        for first in range(0, len(data), 1000):
            images, labels = data.batch(slice(first, first + 1000))
            with torch.no_grad():
                right = model(images).argmax(1) == labels
            chosen += (first + right.nonzero()[:, 0]).tolist()
            if len(chosen) >= self.count:
                break
        return tuple(chosen[: self.count])


@dataclass(frozen=True)
class OneOfEach:
    """For each of these classes, the image of which the model is surest that it shows what it does, of the first 1,000.

    Raises InputError where there is none.
    """

    classes: tuple[int, ...]

    def __call__(self, model: nn.Module, data: ImageDataset) -> tuple[int, ...]:
        images, labels = data.batch(slice(0, 1000))
        probability = model(images).softmax(1)
        right = probability.argmax(1) == labels
        sure = probability.amax(1).masked_fill(~right, -1)
        chosen = []
        for one in self.classes:
            of_class = sure.masked_fill(labels != one, -1)
            if float(of_class.amax()) < 0:
                raise InputError(f"figure: the model classifies no image of class {one} correctly; train it for longer")
            chosen.append(int(of_class.argmax()))
        return tuple(chosen)


@dataclass(frozen=True)
class FirstOfEach:
    """For each of these classes, the first image that shows it, whatever a model says: the same for all models.

    Raises InputError where there is none.
    """

    classes: tuple[int, ...]

    def __call__(self, model: nn.Module, data: ImageDataset) -> tuple[int, ...]:
        labels = data.batch(slice(0, len(data)))[1]
        chosen = []
        for one in self.classes:
            places = (labels == one).nonzero()[:, 0]
            if not len(places):
                raise InputError(f"figure: {data.name} has no image of class {one}; accepted: its own classes")
            chosen.append(int(places[0]))
        return tuple(chosen)
