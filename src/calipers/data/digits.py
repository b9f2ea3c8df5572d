"""The 8x8 digits that come with scikit-learn; no download."""

import torch
from sklearn.datasets import load_digits as sklearn_digits

from calipers.core.errors import DataError
from calipers.data.images import ImageDataset

TRAIN = 1297
SPLITS = {"train": slice(None, TRAIN), "test": slice(TRAIN, None)}


def load_digits(split: str) -> ImageDataset:
    """Images (n, 1, 8, 8) in [0, 1] (the counts 0..16 over 16): the first 1297 are "train", the last 500 "test"."""
    if split not in SPLITS:
        raise DataError(f"data digits: no split {split!r}; accepted: {', '.join(SPLITS)}")
    raw = sklearn_digits()
    images = torch.from_numpy(raw.images).float()[:, None] / 16
    labels = torch.from_numpy(raw.target).long()
    return ImageDataset("digits", images, labels, tuple(map(str, raw.target_names))).subset(SPLITS[split])
