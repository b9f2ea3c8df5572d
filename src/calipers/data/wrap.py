"""Any torch data set as an `ImageDataset`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from calipers.core.errors import DataError, InputError
from calipers.data.images import ImageDataset, check_limit


def as_image_dataset(
    dataset: Any,
    samples: int | None = None,
    *,
    name: str = "custom",
    domain: tuple[float, float] | None = None,
    class_names: Sequence[str] | None = None,
) -> ImageDataset:
    """The first `samples` (None: all) of a data set with `__len__` and `__getitem__` -> (image tensor, label).

    domain: (low, high) that every image value must lie in. class_names: default to the data set's `classes`, else to
    the numbers up to the largest label that occurs.

    Raises DataError, naming the sample, where images differ in shape or type, are not uint8 or floating point, not
    finite or outside the domain, and where a label is no integer >= 0.
    """
    if isinstance(dataset, ImageDataset) and domain is None and class_names is None:
        return dataset if samples is None else dataset.head(samples)
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise DataError(f"data {name}: a {type(dataset).__name__} has no length or indexing; accepted: map-style data")
    count = len(dataset) if samples is None else samples
    check_limit(name, count, len(dataset))
    images: list[Tensor] = []
    labels: list[int] = []
    for index in range(count):
        image, label = _pair(name, index, dataset[index])
        _check_image(name, index, image, images[0] if images else image)
        images.append(image)
        labels.append(_label(name, index, label))
    stacked = torch.stack(images)
    if domain is not None:
        _check_domain(name, stacked, domain)
    names = class_names or getattr(dataset, "classes", None) or [str(number) for number in range(max(labels) + 1)]
    return ImageDataset(name, stacked, torch.tensor(labels), tuple(str(value) for value in names))


def _pair(name: str, index: int, item: Any) -> tuple[Any, Any]:
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise DataError(
            f"data {name}: sample {index} is a {type(item).__name__}; accepted: a pair (image tensor, label)"
        )
    return item[0], item[1]


def _check_image(name: str, index: int, image: Any, first: Any) -> None:
    if not isinstance(image, Tensor):
        raise DataError(f"data {name}: image {index} is a {type(image).__name__}; accepted: a tensor (channels, ...)")
    if not (image.dtype is torch.uint8 or image.is_floating_point()):
        raise DataError(f"data {name}: image {index} is {image.dtype}; accepted: uint8 or floating point")
    if (image.shape, image.dtype) != (first.shape, first.dtype):
        raise DataError(
            f"data {name}: image {index} has shape {tuple(image.shape)} {image.dtype}, image 0 has "
            f"{tuple(first.shape)} {first.dtype}; all must be alike"
        )
    broken = int((~torch.isfinite(image)).sum())
    if broken:
        raise DataError(f"data {name}: image {index} has {broken} values that are NaN or infinite; all must be finite")


def _check_domain(name: str, images: Tensor, domain: tuple[float, float]) -> None:
    low, high = domain
    if not low < high:
        raise InputError(f"domain: {domain} is empty; accepted: (low, high) with low < high")
    values = images.float() / 255 if images.dtype is torch.uint8 else images
    outside = ((values < low) | (values > high)).flatten(1).any(-1).nonzero()
    if len(outside):
        worst = values[int(outside[0])]
        raise DataError(
            f"data {name}: image {int(outside[0])} has values from {float(worst.min()):g} to {float(worst.max()):g}; "
            f"accepted: {low:g} to {high:g}"
        )


def _label(name: str, index: int, label: Any) -> int:
    value = label.item() if hasattr(label, "item") and getattr(label, "ndim", 0) == 0 else label
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise DataError(f"data {name}: label {index} is {value!r}; accepted: an integer >= 0")
    return value
