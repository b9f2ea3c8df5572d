"""Whether a repair holds in double precision, and on the network as it is deployed."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from calipers.core.errors import CalipersError
from calipers.core.problem import Specification

_BATCH = 256


@dataclass(frozen=True)
class Rechecked:
    """The least margin over all samples, in double precision and in the network's own."""

    double: float
    deployed: float


def rechecked(
    deployed: nn.Module, exact: nn.Module, x: Float[Tensor, "batch *shape"], labels: Int[Tensor, " batch"]
) -> Rechecked:
    """Measure the margins of samples that are claimed to be right.

    exact: the same network in double precision. Raises CalipersError, naming the sample, where one is wrong.
    """
    least = []
    for model, dtype in ((exact, torch.float64), (deployed, x.dtype)):
        margins = margins_of(model, x.to(dtype), labels)
        worst = int(margins.argmin())
        if not bool(margins[worst] > 0):
            raise CalipersError(
                f"repair: sample {worst} of those repaired has a margin of {float(margins[worst]):g} in "
                f"{str(dtype).removeprefix('torch.')}, where it has to be positive; accepted: a larger --margin"
            )
        least.append(float(margins[worst]))
    return Rechecked(*least)


def margins_of(
    model: nn.Module, x: Float[Tensor, "batch *shape"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """By how much the label's output exceeds the largest other."""
    found = []
    with torch.no_grad():
        for part, label in zip(x.split(_BATCH), labels.split(_BATCH), strict=True):
            logits = model(part)
            found.append(Specification.classified_as(label, logits.shape[1]).margins(logits).amin(1))
    return torch.cat(found) if found else x.new_zeros(0)
