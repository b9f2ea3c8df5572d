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

    @property
    def parallel(self) -> bool:
        return self.lower_slope is self.upper_slope
