"""What is allowed but hardly meant: radii and ranges in another scale than the images."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from calipers.core.distances import Distance, has_channels
from calipers.core.space import InputSpace
from calipers.core.warnings import SanityWarning
from calipers.data.images import ImageDataset

# Images that use a smaller part of their domain are probably in another scale.
_PART = 0.02


def implausible(
    data: ImageDataset, space: InputSpace, distance: Distance, epsilons: Sequence[float]
) -> Iterator[SanityWarning]:
    """Warnings about the data's conversions, radii beyond the domain, and images that hardly use it.

    space: with its unit settled.
    """
    for note in data.notes:
        yield SanityWarning("conversion", note, f"data {data.name}")
    images = data.batch(slice(0, len(data)))[0]
    low, high = float(images.min()), float(images.max())
    if space.domain is not None and 0 < high - low < _PART * (space.domain[1] - space.domain[0]):
        yield SanityWarning(
            "range",
            f"the images run from {low:g} to {high:g}, the domain from {space.domain[0]:g} to {space.domain[1]:g}: "
            "they are probably in another scale than the domain and the radii",
            f"data {data.name}",
        )
    low, high = space.domain or (low, high)
    side = (high - low) / min(space.scale or (1.0,))
    widest = _diameter(distance, images[:1], side)
    beyond = [epsilon for epsilon in epsilons if epsilon >= widest > 0]
    if beyond:
        meant = f"; if {beyond[0]:g}/255 was meant, that is {beyond[0] / 255:.6g}" if (low, high) == (0, 1) else ""
        yield SanityWarning(
            "epsilon-beyond-domain",
            f"epsilon {beyond[0]:g} ({distance}) allows every input from {low:g} to {high:g}, whatever the image"
            f"{meant}",
            f"radii from {widest:g} on reach across the whole domain",
        )


def _diameter(distance: Distance, image: Tensor, side: float) -> float:
    """Of all images like this one, each value of which has `side` units of room."""
    values = image[0].numel()
    match distance:
        case Distance.LINF:
            return side
        case Distance.L2:
            return side * values**0.5
        case Distance.L1:
            return side * values
        case Distance.L0_VALUES:
            return float(values)
        case Distance.L0_PIXELS:
            return float(values // image.shape[1] if has_channels(image) else values)
