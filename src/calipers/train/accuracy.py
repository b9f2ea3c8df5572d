"""Accuracy of a model in eval mode."""

import torch
from torch import nn

from calipers.core.devices import home_of
from calipers.data.images import ImageDataset


def accuracy(model: nn.Module, dataset: ImageDataset) -> float:
    """Share of samples classified correctly, in eval mode."""
    model.eval()
    hits, device = 0, home_of(model)
    with torch.no_grad():
        for first in range(0, len(dataset), 1000):
            x, y = dataset.batch(slice(first, first + 1000))
            hits += int((model(x.to(device)).argmax(1).cpu() == y).sum())
    return hits / len(dataset)
