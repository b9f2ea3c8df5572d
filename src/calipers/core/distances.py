"""How far a perturbation goes. Wider than the norms of balls: sparse perturbations are counted too."""

from enum import StrEnum

from jaxtyping import Float
from torch import Tensor

from calipers.core.norms import Norm, flat


class Distance(StrEnum):
    """What a minimum-norm attack makes small.

    L0_VALUES counts the values that change. L0_PIXELS counts the pixels of which any channel changes; a pixel is the
    values at one position, over dimension 1. An input without positions, of shape (features,), has one value a pixel.
    """

    LINF = "linf"
    L2 = "l2"
    L1 = "l1"
    L0_PIXELS = "l0-pixels"
    L0_VALUES = "l0-values"

    @property
    def norm(self) -> Norm | None:
        """The norm whose balls have this radius; None for counts, which have no balls here."""
        return Norm(self.value) if self.value in list(Norm) else None

    def __call__(self, perturbation: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
        """The size of each perturbation."""
        if self.norm is not None:
            return self.norm(flat(perturbation))
        return flat(self.sizes(perturbation) != 0).sum(-1).to(perturbation.dtype)

    def sizes(self, perturbation: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *units"]:
        """The magnitude of whatever changes as one: the largest in every pixel for L0_PIXELS, else of every value."""
        return largest_channel(perturbation) if self is Distance.L0_PIXELS else perturbation.abs()


def has_channels(x: Tensor) -> bool:
    """Whether x of shape (batch, *shape) has positions with channels in dimension 1, rather than plain features."""
    return x.dim() > 2


def largest_channel(x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *pixels"]:
    """The largest magnitude in every pixel; dimension 1 is kept with length 1."""
    return x.abs().amax(1, keepdim=True) if has_channels(x) else x.abs()
