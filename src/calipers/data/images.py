"""Labelled images in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.utils.data import Dataset

from calipers.core.digests import digest_tensors
from calipers.core.errors import DataError, InputError

Indices = Sequence[int] | Tensor | slice


@dataclass(frozen=True, eq=False)
class ImageDataset(Dataset[tuple[Tensor, int]]):
    """Images (n, channels, ...) with labels (n,).

    images: uint8 (0..255, handed out divided by 255) or floating point (handed out as float32, as they are).
    labels: int64, 0 <= label < len(class_names). notes: what was converted on the way here, for the report.
    Raises DataError where these do not hold.
    """

    name: str
    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.images.dim() < 2 or self.labels.dim() != 1 or len(self.images) != len(self.labels):
            raise DataError(
                f"data {self.name}: images have shape {tuple(self.images.shape)}, labels {tuple(self.labels.shape)}; "
                "accepted: (n, channels, ...) and (n,)"
            )
        if not (self.images.dtype is torch.uint8 or self.images.is_floating_point()):
            raise DataError(f"data {self.name}: images are {self.images.dtype}; accepted: uint8 or floating point")
        if self.labels.dtype is not torch.int64:
            raise DataError(f"data {self.name}: labels are {self.labels.dtype}; accepted: int64")
        outside = ((self.labels < 0) | (self.labels >= len(self.class_names))).nonzero()
        if len(outside):
            index = int(outside[0])
            raise DataError(
                f"data {self.name}: sample {index} has label {int(self.labels[index])}; accepted: 0 to "
                f"{len(self.class_names) - 1}, for {len(self.class_names)} classes"
            )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of images and labels."""
        return digest_tensors([("images", self.images), ("labels", self.labels)])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one image."""
        return tuple(self.images.shape[1:])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"data {self.name}: sample {index} of {len(self)}")
        return _as_float(self.images[index]), int(self.labels[index])

    def batch(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Images (batch, channels, ...) as float32 and labels (batch,) as int64."""
        picked = _as_index(indices)
        return _as_float(self.images[picked]), self.labels[picked]

    def subset(self, indices: Indices) -> "ImageDataset":
        """The chosen samples, in the order given, with the same name and classes."""
        picked = _as_index(indices)
        return ImageDataset(self.name, self.images[picked], self.labels[picked], self.class_names, self.notes)

    def head(self, n: int) -> "ImageDataset":
        """The first n samples; InputError if there are fewer."""
        check_limit(self.name, n, len(self))
        return self.subset(slice(n))


def check_limit(name: str, limit: int, available: int) -> None:
    """Raise InputError unless 1 <= limit <= available."""
    if not 1 <= limit <= available:
        raise InputError(f"data {name}: {limit} samples asked for, there are {available}; accepted: 1 to {available}")


def _as_index(indices: Indices) -> Tensor | slice:
    if isinstance(indices, slice | Tensor):
        return indices
    return torch.tensor(list(indices), dtype=torch.int64)


def _as_float(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype is torch.uint8 else images.float()
