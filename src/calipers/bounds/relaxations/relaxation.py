"""One record per nonlinearity: the two planes between which it lies."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Relaxation:
    """lower_slope . x + lower_bias <= op(x) <= upper_slope . x + upper_bias wherever x keeps its interval bounds.

    Slopes are (batch, *shape) for an elementwise operation and (batch, pixels, *output shape) for windows, where the
    dot product runs over a window's pixels. `parallel` planes share their slopes; then one walk gives both bounds.
    """

    lower_slope: Float[Tensor, "batch *dims"]
    lower_bias: Float[Tensor, "batch *shape"]
    upper_slope: Float[Tensor, "batch *dims"]
    upper_bias: Float[Tensor, "batch *shape"]

    def at(self, image: Int[Tensor, " some"]) -> "Relaxation":
        """The planes of some images of the batch, in the order given."""
        lower_slope = self.lower_slope[image]
        upper_slope = lower_slope if self.parallel else self.upper_slope[image]
        return Relaxation(lower_slope, self.lower_bias[image], upper_slope, self.upper_bias[image])

    def channels_last(self) -> "Relaxation":
        """The same planes in the order of memory that walks are fast in; of feature maps only."""
        lower_slope = _channels_last(self.lower_slope)
        upper_slope = lower_slope if self.parallel else _channels_last(self.upper_slope)
        return Relaxation(lower_slope, _channels_last(self.lower_bias), upper_slope, _channels_last(self.upper_bias))

    @property
    def parallel(self) -> bool:
        return self.lower_slope is self.upper_slope

    @property
    def middle(self) -> Float[Tensor, "batch *shape"]:
        """The offset midway between parallel planes."""
        return self.lower_bias / 2 + self.upper_bias / 2  # a sum of both could overflow

    @property
    def half(self) -> Float[Tensor, "batch *shape"]:
        """How far parallel planes are from the middle."""
        return self.upper_bias / 2 - self.lower_bias / 2


def _channels_last(values: Tensor) -> Tensor:
    return values.movedim(-3, -1).contiguous().movedim(-1, -3) if values.dim() >= 4 else values
