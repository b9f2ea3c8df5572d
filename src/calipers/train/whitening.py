"""The table [whitening] of recipes: fixed first layers that are fitted to the training images before training."""

from dataclasses import dataclass, field
from functools import lru_cache

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from calipers.data.images import ImageDataset
from calipers.models.whitening import Whitening

_BATCH = 1000


class WhiteningSettings(BaseModel):
    """contrast: length of an image after global contrast normalisation. regularisation: added to ZCA's variances.

    The network is trained behind these layers: augmentation, adversaries and penalties work on whitened images. Samples
    that validate are no part of the fit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    contrast: float = Field(default=55.0, gt=0)
    regularisation: float = Field(default=0.1, gt=0)

    def fitted(self, dataset: ImageDataset) -> tuple[Whitening, ImageDataset]:
        """The layers, in eval mode on the CPU, and the data set behind them; neither is to be changed."""
        return _fitted(_Asked(self, dataset.digest, dataset))


@dataclass(frozen=True)
class _Asked:
    """dataset: told by its digest."""

    settings: WhiteningSettings
    digest: str
    dataset: ImageDataset = field(compare=False)


# A laboratory trains several networks on the same images.
@lru_cache(maxsize=1)
def _fitted(asked: _Asked) -> tuple[Whitening, ImageDataset]:
    images = asked.dataset.batch(slice(None))[0]
    layers = Whitening(asked.dataset.input_shape, asked.settings.contrast)
    layers.fit(images, asked.settings.regularisation).eval()
    return layers, behind(layers, asked.dataset)


@torch.no_grad()
def behind(layers: nn.Module, dataset: ImageDataset) -> ImageDataset:
    """The data set as it is after these layers, as float32."""
    starts = range(0, len(dataset), _BATCH)
    parts = [layers(dataset.batch(slice(first, first + _BATCH))[0]) for first in starts]
    return ImageDataset(dataset.name, torch.cat(parts), dataset.labels, dataset.class_names, dataset.notes)
