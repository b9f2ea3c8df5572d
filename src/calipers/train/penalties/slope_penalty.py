"""What penalties on gradients with respect to inputs share."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from calipers.core.modes import evaluating
from calipers.train.objective import DataShape
from calipers.train.penalties.penalty import Penalty
from calipers.train.twice import check_twice_differentiable, two_sided


class SlopePenalty(Penalty):
    """A penalty that is differentiated twice. It sees the model in eval mode, in which samples do not depend on others.

    In train mode BatchNorm would make them, and dropout would draw.
    """

    def check(self, model: nn.Module, x: Tensor) -> None:
        """See `Penalty`. Raises InputError unless gradients of the model can be differentiated."""
        check_twice_differentiable(f"penalty {type(self).__name__}", model, DataShape(tuple(x.shape[1:]), 0))


def looked_at(model: nn.Module, x: Float[Tensor, "batch *shape"]) -> tuple[Tensor, Tensor]:
    """(logits in eval mode, x as these know it)."""
    here = x.detach().requires_grad_(True)
    with evaluating(model):
        return two_sided(model(here)), here


def loss_slope(
    model: nn.Module, x: Float[Tensor, "batch *shape"], y: Int[Tensor, " batch"]
) -> Float[Tensor, "batch *shape"]:
    """The gradient of each sample's cross-entropy at x, differentiable in the weights."""
    logits, here = looked_at(model, x)
    (slope,) = torch.autograd.grad(F.cross_entropy(logits, y, reduction="sum"), here, create_graph=True)
    return slope


def labelled(x: Float[Tensor, "batch *shape"], y: Int[Tensor, " batch"]) -> tuple[Tensor, Tensor]:
    """The samples that have a label."""
    has = y >= 0
    return (x, y) if bool(has.all()) else (x[has], y[has])
