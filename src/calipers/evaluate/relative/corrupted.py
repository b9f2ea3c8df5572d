"""Test errors on images that one step of the fast gradient sign method corrupted (Matyasko 2020, equation 3.21)."""

import torch
import torch.nn.functional as F
from torch import nn

from calipers.core.devices import home_of, moved
from calipers.data.images import ImageDataset

_BATCH = 500


def fgsm_error(model: nn.Module, dataset: ImageDataset, epsilon: float) -> float:
    """Share of x + epsilon sign(grad J(x, y)) that is misclassified, over all images; there is no domain."""
    wrong = 0
    for first in range(0, len(dataset), _BATCH):
        images, labels = moved(dataset.batch(slice(first, first + _BATCH)), home_of(model))
        x = images.clone().requires_grad_(True)
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(F.cross_entropy(model(x), labels), x)
        with torch.no_grad():
            wrong += int((model(images + epsilon * slope.sign()).argmax(1) != labels).sum())
    return wrong / len(dataset)
