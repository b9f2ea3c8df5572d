"""Changes of training images that keep their class, drawn anew for every batch."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


class Augmentation(BaseModel):
    """flip: mirror half of the images left to right. shift: move each by up to so many places, zeros come in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flip: bool = False
    shift: int = Field(default=0, ge=0)

    def apply(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """With draws from the global generator; the same image where nothing is asked for."""
        if self.flip:
            mirrored = torch.rand(len(x), 1, 1, 1) < 0.5
            x = torch.where(mirrored.to(x.device), x.flip(-1), x)
        if self.shift:
            height, width = x.shape[-2:]
            padded = F.pad(x, [self.shift] * 4)
            top, left = torch.randint(0, 2 * self.shift + 1, (2, len(x), 1))
            rows = (top + torch.arange(height))[:, None, :, None]
            columns = (left + torch.arange(width))[:, None, None, :]
            image, channel = torch.arange(len(x))[:, None, None, None], torch.arange(x.shape[1])[None, :, None, None]
            x = padded[image, channel, rows, columns]
        return x
