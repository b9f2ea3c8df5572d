"""Whether the values of images fit the interval that perturbed inputs have to stay in."""

from dataclasses import replace

import torch

from calipers.core.errors import InputError
from calipers.core.space import as_domain
from calipers.data.images import ImageDataset

CONVERTED = "images were converted from uint8 0..255 to float 0..1"
KEPT = "uint8 images were taken as floats 0..255, as the domain says"


def fit_domain(data: ImageDataset, domain: tuple[float, float] | None) -> ImageDataset:
    """The same images, bytes in the scale of the domain: divided by 255 for (0, 1) and None, as they are for (0, 255).

    Raises InputError, naming both ranges, where the values do not fit the domain.
    """
    if domain is None:
        return data
    low, high = as_domain(domain)
    if data.images.dtype is not torch.uint8:
        _check_inside(data, low, high)
        return data
    if (low, high) == (0, 1):
        return data
    if (low, high) == (0, 255):
        notes = (*(note for note in data.notes if note != CONVERTED), KEPT)
        return replace(data, images=data.images.float(), notes=notes)
    raise InputError(
        f"data {data.name}: images are uint8, whose values run from 0 to 255 (or, as floats, from 0 to 1), the domain "
        f"from {low:g} to {high:g}; accepted: domain (0, 1), (0, 255) or None, or images as floats in your own scale"
    )


def _check_inside(data: ImageDataset, low: float, high: float) -> None:
    smallest, largest = float(data.images.min()), float(data.images.max())
    if low <= smallest and largest <= high:
        return
    outside = ((data.images < low) | (data.images > high)).flatten(1).any(-1).nonzero()[:, 0]
    scale = "divide by 255, or " if smallest >= 0 and (low, high) == (0, 1) and 1 < largest <= 255 else ""
    raise InputError(
        f"data {data.name}: values run from {smallest:g} to {largest:g}, outside the domain from {low:g} to {high:g} "
        f"({len(outside)} of {len(data)} images, the first is {int(outside[0])}); {scale}scale the data, or give the "
        "domain they live in (or none)"
    )
