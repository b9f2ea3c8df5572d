"""Any labelled images as an `ImageDataset`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from calipers.core.errors import DataError, InputError
from calipers.data.domain import CONVERTED, fit_domain
from calipers.data.images import ImageDataset, check_limit
from calipers.data.samples import LABEL_KEYS, ONE_HOT, image_and_label, image_tensor, source_of


def as_image_dataset(
    dataset: Any,
    samples: int | None = None,
    *,
    name: str = "custom",
    domain: tuple[float, float] | None = None,
    class_names: Sequence[str] | None = None,
    at_most: int | None = None,
) -> ImageDataset:
    """The first `samples` (None: all, or `at_most`) of a data set, in its own order.

    dataset: arrays (X, y) of all images and all labels; a map-style data set; a DataLoader; or another iterable.
    Samples are pairs (image, label) or dictionaries; images are tensors, numpy arrays or PIL images.
    domain: (low, high) that every image value must lie in. class_names: default to the data set's `classes`, else to
    the numbers up to the largest label that occurs. What is converted on the way stands in the result's `notes`.

    Raises DataError, naming the sample, where images differ in shape or type, are not uint8 or floating point or not
    finite, and where a label is no integer >= 0 (a one-hot row counts as one); InputError
    where there are fewer samples or the domain does not fit.
    """
    if samples is not None and (isinstance(samples, bool) or not hasattr(samples, "__index__")):
        raise InputError(f"samples: {samples!r} is not a number of samples; accepted: a whole number >= 1, or None")
    if isinstance(dataset, ImageDataset):
        count = min(len(dataset), at_most or len(dataset)) if samples is None else samples
        same = dataset if count == len(dataset) else dataset.head(count)
        named = same if class_names is None else replace(same, class_names=tuple(map(str, class_names)))
        return fit_domain(named, domain)
    images, labels, notes = _gather(name, dataset, samples, at_most)
    stacked = torch.stack(images)
    if stacked.dtype is torch.uint8:
        notes += (CONVERTED,)
    names = class_names or _class_names(dataset) or [str(number) for number in range(max(labels) + 1)]
    data = ImageDataset(name, stacked, torch.tensor(labels), tuple(str(value) for value in names), notes)
    return fit_domain(data, domain)


def _gather(
    name: str, dataset: Any, samples: int | None, at_most: int | None
) -> tuple[list[Tensor], list[int], tuple[str, ...]]:
    source = source_of(name, dataset)
    if source.length == 0:
        raise DataError(f"data {name}: there are no samples; at least one is needed")
    if samples is not None and source.length is not None:
        check_limit(name, samples, source.length)
    limit = at_most if samples is None else samples
    if limit is None and source.length is None and not hasattr(dataset, "__len__"):
        raise DataError(f"data {name}: a {type(dataset).__name__} has no length or indexing; say how many samples")
    if limit is not None and limit < 1:
        check_limit(name, limit, source.length or 1)
    images: list[Tensor] = []
    labels: list[int] = []
    notes = dict.fromkeys(source.notes)
    for index, item in enumerate(islice(source.items, limit)):
        image, label = image_and_label(name, index, item)
        images.append(image_tensor(name, index, image, notes.setdefault))
        _check_image(name, index, images[-1], images[0])
        labels.append(_label(name, index, label, notes.setdefault))
    if not images:
        raise DataError(f"data {name}: there are no samples; at least one is needed")
    if samples is not None:
        check_limit(name, samples, len(images))
    return images, labels, tuple(notes)


def _class_names(dataset: Any) -> Sequence[str] | None:
    """As torch's data sets and those of the Hub keep them."""
    features = getattr(dataset, "features", None)
    column = (
        next((features[key] for key in LABEL_KEYS if key in features), None) if isinstance(features, dict) else None
    )
    found = getattr(dataset, "classes", None) or getattr(column, "names", None)
    return found if isinstance(found, list | tuple) else None


def _check_image(name: str, index: int, image: Tensor, first: Tensor) -> None:
    if image.dim() < 1:
        raise DataError(f"data {name}: image {index} is a single number; accepted: a tensor (channels, ...)")
    if not (image.dtype is torch.uint8 or image.is_floating_point()):
        raise DataError(
            f"data {name}: image {index} is {image.dtype}; accepted: uint8 or floating point; convert it with .astype "
            "or .to"
        )
    if (image.shape, image.dtype) != (first.shape, first.dtype):
        raise DataError(
            f"data {name}: image {index} has shape {tuple(image.shape)} {image.dtype}, image 0 has "
            f"{tuple(first.shape)} {first.dtype}; all must be alike"
        )
    broken = int((~torch.isfinite(image)).sum())
    if broken:
        raise DataError(f"data {name}: image {index} has {broken} values that are NaN or infinite; all must be finite")


def _label(name: str, index: int, label: Any, say: Callable[[str], None]) -> int:
    """A class by its number, also as a float or a bool, or as a row of zeros with a one in its place."""
    value = label.item() if hasattr(label, "item") and _count(label) == 1 else label
    if hasattr(value, "shape"):
        row = torch.as_tensor(value).flatten()
        if sorted(row.unique().tolist()) == [0, 1] and int(row.sum()) == 1:
            say(ONE_HOT)
            value = int(row.argmax())
    number = int(value) if isinstance(value, int | float) and math.isfinite(value) else None
    if number is None or number != value or number < 0:
        shown = f"an array of shape {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)
        raise DataError(f"data {name}: label {index} is {shown}; accepted: an integer >= 0, or a one-hot row")
    return number


def _count(label: Any) -> int:
    """How many numbers there are in a tensor, array or numpy scalar."""
    return label.numel() if isinstance(label, Tensor) else int(getattr(label, "size", 1))
