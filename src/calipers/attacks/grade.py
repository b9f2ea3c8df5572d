"""What a point that an attack proposes is worth on the model itself."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from calipers.core.problem import Specification


def grade(
    model: nn.Module, specification: Specification, x: Float[Tensor, "batch *shape"]
) -> tuple[Int[Tensor, " batch"], Float[Tensor, " batch"]]:
    """Prediction and smallest row at every input, evaluated in one batch; what is broken is evaluated alone as well."""
    with torch.no_grad():
        return graded(model, specification, x, model(x))


def graded(
    model: nn.Module,
    specification: Specification,
    x: Float[Tensor, "batch *shape"],
    logits: Float[Tensor, "batch classes"],
) -> tuple[Int[Tensor, " batch"], Float[Tensor, " batch"]]:
    """The same where the model's outputs at x are known, from whatever batches.

    The larger margin of the two counts: sums in another order turn margins of about 0, and what only one of them breaks
    is not broken. So is what has no number for a margin.
    """
    with torch.no_grad():
        together = specification.margins(logits).amin(1)
        broken = (together <= 0).tolist()
        alone = torch.cat([model(x[i : i + 1]) if broken[i] else logits[i : i + 1] for i in range(len(x))])
    margin = torch.maximum(together, specification.margins(alone).amin(1))
    prediction = torch.where(margin <= 0, logits.argmax(1), alone.argmax(1))
    return prediction, margin.nan_to_num(torch.inf, torch.inf, -torch.inf)
