"""Adversarial examples as small pictures, or as numbers where the data are no images."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from calipers.core.errors import InputError

AMPLIFICATION = 10
MOST_CHANGES = 5
LONGEST_SIDE = 72  # three noisy RGB pictures of this size for each of twelve samples stay below one megabyte


@dataclass(frozen=True, eq=False)
class GalleryItem:
    """One sample and its nearest adversarial example, as raw model inputs of one shape, usually (C, H, W).

    distance: in the run's norm and unit. epsilon: the radius at which `method` found it; None where it needed none.
    """

    sample_id: int
    label: int
    prediction: int
    original: np.ndarray
    adversarial: np.ndarray
    distance: float
    epsilon: float | None
    method: str

    def __post_init__(self) -> None:
        if self.original.shape != self.adversarial.shape:
            raise InputError(
                f"gallery: sample {self.sample_id} has shape {self.original.shape}, its adversarial example "
                f"{self.adversarial.shape}; both must be the same"
            )
        if self.original.size == 0:
            raise InputError(
                f"gallery: sample {self.sample_id} has shape {self.original.shape}; accepted: one value or more"
            )


@dataclass(frozen=True)
class Pictures:
    """A gallery item ready to be shown: three data URIs and what the pictures leave out.

    clipped: some value lay outside the displayed interval. saturated: some difference exceeded the grey scale.
    note: how the picture departs from the data, or empty.
    """

    original: str
    adversarial: str
    difference: str
    clipped: bool
    saturated: bool
    note: str


@dataclass(frozen=True)
class Change:
    """One value of a sample before and after. place: its index, counted from 0."""

    place: tuple[int, ...]
    before: float
    after: float


def largest_changes(item: GalleryItem, most: int = MOST_CHANGES) -> tuple[Change, ...]:
    """The values that changed most, the largest change first; values that stayed are left out."""
    before, after = item.original.astype(np.float64), item.adversarial.astype(np.float64)
    size = np.abs(after - before).reshape(-1)
    order = [int(i) for i in np.argsort(-size, kind="stable")[:most] if size[i] > 0]
    places = [tuple(int(axis) for axis in np.unravel_index(i, before.shape)) for i in order]
    return tuple(Change(place, float(before[place]), float(after[place])) for place in places)


def changed_values(item: GalleryItem) -> int:
    """How many values differ."""
    return int((item.original != item.adversarial).sum())


def pictures(item: GalleryItem, domain: tuple[float, float] | None) -> Pictures:
    """Draw an item of up to three dimensions. Values are shown on `domain`, or on [0, 1] where there is none.

    The difference is adversarial - original, ten times enlarged: mid-grey is no change, lighter is more.
    """
    low, high = domain or (0.0, 1.0)
    before, after = ((_as_image(array) - low) / (high - low) for array in (item.original, item.adversarial))
    change = AMPLIFICATION * (after - before)
    tolerance = 1e-6
    clipped = any(bool((a < -tolerance).any() or (a > 1 + tolerance).any()) for a in (before, after))
    notes = []
    if len(before) not in (1, 3):
        notes.append(f"first of {len(before)} channels")
    if max(before.shape[1:]) > LONGEST_SIDE:
        notes.append(f"reduced from {before.shape[2]} by {before.shape[1]} pixels")
    return Pictures(
        data_uri(before),
        data_uri(after),
        data_uri(0.5 + change / 2),
        clipped,
        bool((np.abs(change) > 1 + tolerance).any()),
        ", ".join(notes),
    )


def data_uri(image: np.ndarray) -> str:
    """A (C, H, W) array on [0, 1] as a PNG, values outside clipped; the first channel in grey unless there are 3."""
    levels = np.round(255 * np.clip(np.nan_to_num(image), 0, 1)).astype(np.uint8)
    picture = Image.fromarray(levels.transpose(1, 2, 0) if len(levels) == 3 else levels[0])
    if max(picture.size) > LONGEST_SIDE:
        factor = LONGEST_SIDE / max(picture.size)
        size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
        picture = picture.resize(size, Image.Resampling.BOX)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _as_image(array: np.ndarray) -> np.ndarray:
    # A vector is shown as a strip of pixels, a matrix as a grey picture.
    return np.asarray(array, dtype=np.float64).reshape((1,) * (3 - array.ndim) + array.shape)
