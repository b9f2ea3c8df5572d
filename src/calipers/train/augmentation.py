"""Changes of training images that keep their class, drawn anew for every batch."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


class Augmentation(BaseModel):
    """flip: mirror half of the images left to right. shift: move each by up to so many places, zeros come in.

    crop: cut a window out of each at a random place, with sides of a random share of the image's, crop at least, and
    scale it to the size of the image (bilinear); 1 leaves the images as they are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    flip: bool = False
    shift: int = Field(default=0, ge=0)
    crop: float = Field(default=1.0, gt=0, le=1)

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
        return x if self.crop == 1 else _cropped(x, self.crop)


def _cropped(x: Tensor, least: float) -> Tensor:
    """Windows with sides of a share of [least, 1], evenly drawn, anywhere inside the image."""
    share = least + (1 - least) * torch.rand(len(x), 1)
    middle = (1 - share) * (2 * torch.rand(len(x), 2) - 1)  # of the window; the image is [-1, 1] in both directions
    window = torch.zeros(len(x), 2, 3)
    window[:, 0, 0], window[:, 1, 1], window[:, :, 2] = share[:, 0], share[:, 0], middle
    grid = F.affine_grid(window.to(x), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)
