"""Rows of a Hugging Face data set as tensors. Works on arrow batches, as decoding row by row is many times slower."""

import io
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from calipers.core.errors import DataError
from calipers.data.images import ImageDataset

MODES = ("L", "RGB")
ROWS = 1000


def decode(name: str, rows: datasets.Dataset | datasets.IterableDataset) -> ImageDataset:
    """Every row, in order: the first `Image` column and the `label` column.

    Raises DataError where a column is missing, an image is damaged or neither grey nor RGB, and where shapes differ.
    """
    features = rows.features or {}
    image_column, label_column = _image_column(name, features), _label_column(name, features)
    images: list[np.ndarray] = []
    labels: list[int | None] = []
    for table in rows.with_format("arrow").iter(batch_size=ROWS):
        for cell in table[image_column].to_pylist():
            images.append(_pixels(name, len(images), cell))
            if images[-1].shape != images[0].shape:
                raise DataError(
                    f"data {name}: image {len(images) - 1} has shape {images[-1].shape}, image 0 has "
                    f"{images[0].shape}; all must be alike"
                )
        labels += table[label_column].to_pylist()
    if not images:
        raise DataError(f"data {name}: there are no rows; at least one is needed")
    known = [label for label in labels if label is not None]
    if len(known) < len(labels):
        raise DataError(f"data {name}: sample {labels.index(None)} has no label; accepted: an integer >= 0")
    names = getattr(features[label_column], "names", None) or [str(number) for number in range(max(known) + 1)]
    return ImageDataset(name, torch.from_numpy(np.stack(images)), torch.tensor(known), tuple(names))


def _image_column(name: str, features: dict[str, Any]) -> str:
    for column, feature in features.items():
        if isinstance(feature, datasets.Image):
            return column
    raise DataError(f"data {name}: no image column among {', '.join(features)}; accepted: one of type Image")


def _label_column(name: str, features: dict[str, Any]) -> str:
    for column, feature in features.items():
        if isinstance(feature, datasets.ClassLabel):
            return column
    if getattr(features.get("label"), "dtype", "").startswith(("int", "uint")):
        return "label"
    raise DataError(
        f"data {name}: no label column among {', '.join(features)}; accepted: one of type ClassLabel, or integers "
        "called 'label'"
    )


def _pixels(name: str, index: int, cell: dict[str, Any] | None) -> np.ndarray:
    """(channels, height, width) as uint8."""
    if cell is None or cell["bytes"] is None:
        raise DataError(f"data {name}: image {index} is empty; accepted: the bytes of an image file")
    try:
        with Image.open(io.BytesIO(cell["bytes"])) as image:
            pixels, mode = np.asarray(image), image.mode
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataError(f"data {name}: image {index} is damaged ({error})") from error
    if mode not in MODES:
        raise DataError(f"data {name}: image {index} has mode {mode}; accepted: {' or '.join(MODES)} (8 bits)")
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
