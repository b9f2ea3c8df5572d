"""Samples out of whatever people keep them in: pairs of arrays, map-style data sets, loaders, streams.

A sample is a pair (image, label) or a dictionary with one of the keys below. Images are tensors, numpy arrays or PIL
images; labels are integers.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler

from calipers.core.errors import DataError

IMAGE_KEYS = ("image", "pixel_values", "img", "images", "x")
LABEL_KEYS = ("label", "labels", "y", "target")
ACCEPTED = (
    "accepted: (X, y) arrays, a map-style data set, a DataLoader, or another iterable of (image, label) pairs or of "
    f"dictionaries with {' or '.join(IMAGE_KEYS[:3])} and {' or '.join(LABEL_KEYS[:2])}"
)
_MODES = ("L", "RGB")
_CHANNELS = (1, 3, 4)

SHUFFLED = "the DataLoader shuffles, so that other samples are measured every time; give the data set itself"
CHANNELS_LAST = "images were turned from (height, width, channels) to (channels, height, width)"
ONE_HOT = "one-hot labels were read as the classes that they mark"
ONE_CHANNEL = "images were given a channel: (height, width) became (1, height, width)"


@dataclass(frozen=True)
class Source:
    """Samples in order. length: how many there are, None where only going through tells."""

    items: Iterable[Any]
    length: int | None
    notes: tuple[str, ...] = ()


def source_of(name: str, dataset: Any) -> Source:
    """The samples of `dataset`, whichever form it has. Raises DataError that lists the forms."""
    if isinstance(dataset, DataLoader):
        notes = (SHUFFLED,) if isinstance(dataset.sampler, RandomSampler) else ()
        batches = dataset.batch_sampler is not None
        return Source(chain.from_iterable(_apart(name, b) for b in dataset) if batches else dataset, None, notes)
    if isinstance(dataset, Mapping) and (columns := _columns(dataset)) is not None:
        dataset = columns
    if is_pair_of_arrays(dataset):
        return _pair_of_arrays(name, *dataset)
    if is_pair_of_lists(dataset):
        return Source(zip(*dataset, strict=True), len(dataset[0]))
    if isinstance(dataset, tuple | list) and len(dataset) == 2 and not isinstance(dataset[0], tuple | list | Mapping):
        kinds = " and ".join(type(part).__name__ for part in dataset)
        raise DataError(f"data {name}: a pair of {kinds} is no data set; {ACCEPTED}")
    if isinstance(dataset, str | bytes | Mapping | Tensor | np.ndarray | type):
        raise DataError(f"data {name}: a {type(dataset).__name__} is no data set; {ACCEPTED}")
    if hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"):
        return Source((_item(name, dataset, index) for index in range(len(dataset))), len(dataset))
    if isinstance(dataset, Iterable):
        return Source(dataset, None)
    raise DataError(f"data {name}: a {type(dataset).__name__} has no length or indexing; {ACCEPTED}")


def image_and_label(name: str, index: int, item: Any) -> tuple[Any, Any]:
    """The two halves of a sample. Raises DataError."""
    if isinstance(item, Mapping):
        return _value(name, index, item, IMAGE_KEYS, "image"), _value(name, index, item, LABEL_KEYS, "label")
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise DataError(
            f"data {name}: sample {index} is a {type(item).__name__}; accepted: a pair (image, label), or a dictionary "
            f"with one of {', '.join(IMAGE_KEYS)} and one of {', '.join(LABEL_KEYS)}"
        )
    return item[0], item[1]


def image_tensor(name: str, index: int, image: Any, say: Callable[[str], None]) -> Tensor:
    """An image as a tensor (channels, ...) on the CPU. say: is told how its axes were moved. Raises DataError."""
    if isinstance(image, Tensor):
        return image.detach().cpu()
    if _is_pil(image):
        if image.mode not in _MODES:
            raise DataError(f"data {name}: image {index} has mode {image.mode}; accepted: {' or '.join(_MODES)}")
        pixels = torch.from_numpy(np.array(image))
        return pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1).contiguous()
    if not hasattr(image, "__array__"):
        raise DataError(
            f"data {name}: image {index} is a {type(image).__name__}; accepted: a tensor (channels, ...), a numpy "
            "array or a PIL image"
        )
    return _channels_first(_from_array(name, f"image {index}", image)[None], say)[0]


def is_pair_of_arrays(dataset: Any) -> bool:
    """Whether it is (X, y): all images in one array, all labels in another or in a list of numbers."""
    if not isinstance(dataset, tuple | list) or len(dataset) != 2 or not hasattr(dataset[0], "__array__"):
        return False
    x, y = dataset
    if _is_pil(x) or getattr(x, "ndim", 0) < 2:
        return False
    return getattr(y, "ndim", 0) >= 1 or (isinstance(y, list | tuple) and len(y) == len(x))


def is_pair_of_lists(dataset: Any) -> bool:
    """Whether it is (X, y) with the images in a list, and as many labels in an array or a list of numbers.

    Two samples (image, label) are told from that by their labels: X holds images alone.
    """
    if not isinstance(dataset, tuple | list) or len(dataset) != 2:
        return False
    x, y = dataset
    if not isinstance(x, tuple | list) or not hasattr(y, "__len__") or not 0 < len(x) == len(y):
        return False
    labels = getattr(y, "ndim", 0) >= 1 or (isinstance(y, tuple | list) and all(map(_is_number, y)))
    return labels and all(_is_pil(image) or getattr(image, "ndim", 0) >= 1 for image in x)


def _is_number(label: Any) -> bool:
    return isinstance(label, int | float) or getattr(label, "ndim", None) == 0


def _columns(dataset: Mapping[Any, Any]) -> tuple[Any, Any] | None:
    """The images and labels of a dictionary of columns, such as a slice of a data set of the Hub; None for others."""
    images, labels = (next((key for key in keys if key in dataset), None) for keys in (IMAGE_KEYS, LABEL_KEYS))
    return None if images is None or labels is None else (dataset[images], dataset[labels])


def _is_pil(image: Any) -> bool:
    return hasattr(image, "getbands")


def _pair_of_arrays(name: str, x: Any, y: Any) -> Source:
    notes: list[str] = []
    images = x.detach().cpu() if isinstance(x, Tensor) else _channels_first(_from_array(name, "X", x), notes.append)
    labels = y.detach().cpu() if isinstance(y, Tensor) else y if isinstance(y, Sequence) else _from_array(name, "y", y)
    if isinstance(labels, Tensor) and labels.dim() == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if len(images) != len(labels) or (isinstance(labels, Tensor) and labels.dim() not in (1, 2)):
        shape = tuple(labels.shape) if isinstance(labels, Tensor) else (len(labels),)
        raise DataError(
            f"data {name}: X has shape {tuple(images.shape)}, y {shape}; accepted: (n, channels, ...) and (n,) of "
            "integers, one label an image, or (n, classes) with one one a row"
        )
    return Source(zip(images, labels, strict=True), len(images), tuple(notes))


def _from_array(name: str, what: str, value: Any) -> Tensor:
    array = np.asarray(value)
    try:
        return torch.from_numpy(np.ascontiguousarray(array))
    except (TypeError, ValueError) as error:
        raise DataError(f"data {name}: {what} is an array of {array.dtype}; accepted: numbers") from error


def _channels_first(images: Tensor, say: Callable[[str], None]) -> Tensor:
    """Arrays (n, ...) with the channels last, which is numpy's custom, or left out in bytes; others as they are."""
    if images.dim() == 4 and images.shape[3] in _CHANNELS and images.shape[1] not in _CHANNELS:
        say(CHANNELS_LAST)
        return images.permute(0, 3, 1, 2).contiguous()
    if images.dim() == 3 and images.dtype is torch.uint8:
        say(ONE_CHANNEL)
        return images[:, None]
    return images


def _item(name: str, dataset: Any, index: int) -> Any:
    try:
        return dataset[index]
    except Exception as error:  # a foreign data set may raise anything
        raise DataError(f"data {name}: reading sample {index} failed with {type(error).__name__}: {error}") from error


def _apart(name: str, batch: Any) -> Iterator[Any]:
    """The samples of a loader's batch."""
    if not isinstance(batch, Mapping | tuple | list):
        raise DataError(
            f"data {name}: the DataLoader yields a {type(batch).__name__}; accepted: batches (images, labels), or "
            f"dictionaries with {' or '.join(IMAGE_KEYS[:3])} and {' or '.join(LABEL_KEYS[:2])}"
        )
    return zip(*image_and_label(name, 0, batch), strict=True)


def _value(name: str, index: int, item: Mapping[Any, Any], keys: tuple[str, ...], what: str) -> Any:
    found = next((key for key in keys if key in item), None)
    if found is None:
        raise DataError(
            f"data {name}: sample {index} has no {what} among {', '.join(map(str, item))}; accepted: a key called "
            f"{', '.join(keys)}"
        )
    return item[found]
