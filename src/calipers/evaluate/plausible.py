"""What is allowed but hardly meant: radii and ranges in another scale than the images."""

from collections.abc import Iterator, Sequence

from calipers.core.norms import Norm
from calipers.core.records import SanityWarning
from calipers.core.threat import ThreatModel
from calipers.data.images import ImageDataset

# Images that use a smaller part of their domain are probably in another scale.
_PART = 0.02


def implausible(data: ImageDataset, threat: ThreatModel, epsilons: Sequence[float]) -> Iterator[SanityWarning]:
    """Warnings about the data's conversions, radii beyond the domain, and images that hardly use it.

    threat: with its unit settled.
    """
    for note in data.notes:
        yield SanityWarning("conversion", note, f"data {data.name}")
    images = data.batch(slice(0, len(data)))[0]
    low, high = float(images.min()), float(images.max())
    if threat.domain is not None and 0 < high - low < _PART * (threat.domain[1] - threat.domain[0]):
        yield SanityWarning(
            "range",
            f"the images run from {low:g} to {high:g}, the domain from {threat.domain[0]:g} to {threat.domain[1]:g}: "
            "they are probably in another scale than the domain and the radii",
            f"data {data.name}",
        )
    low, high = threat.domain or (low, high)
    widest = (high - low) / min(threat.scale or (1.0,)) * _diameter(threat.norm, images[0].numel())
    beyond = [epsilon for epsilon in epsilons if epsilon >= widest > 0]
    if beyond:
        meant = f"; if {beyond[0]:g}/255 was meant, that is {beyond[0] / 255:.6g}" if (low, high) == (0, 1) else ""
        yield SanityWarning(
            "epsilon-beyond-domain",
            f"epsilon {beyond[0]:g} ({threat.norm}) allows every input from {low:g} to {high:g}, whatever the image"
            f"{meant}",
            f"radii from {widest:g} on reach across the whole domain",
        )


def _diameter(norm: Norm, values: int) -> float:
    """Of the unit cube."""
    return {Norm.LINF: 1.0, Norm.L2: values**0.5, Norm.L1: float(values)}[norm]
