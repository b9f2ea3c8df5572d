"""What is worked out about the passes of one call: whose they are, which are best, whether gradients are sound."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from calipers.core.norms import flat

# Sums of gradients from here on are looked at entry by entry.
LARGEST = 1e15


def sound(slopes: list[Tensor]) -> bool:
    """Whether all gradients are finite and none is zero; their sums are the cheapest look, and err on the safe side."""
    for slope in slopes:
        sums = flat(slope).sum(1)
        if not bool(((sums.abs() < LARGEST) & (sums != 0)).all()):
            return False
    return True


def tally(passes: Int[Tensor, " batch"], active: Int[Tensor, " active"], times: int = 1) -> None:
    """Add to the passes of every instance as often as it is active."""
    passes.index_add_(0, active, torch.full_like(active, times))


def improvements(
    score: Float[Tensor, " active"], active: Int[Tensor, " active"], best: Float[Tensor, " batch"]
) -> Int[Tensor, " chosen"]:
    """The entries with the lowest score of their instance, where it is lower than the best; the first of equal ones."""
    lower = (score < best[active]).nonzero()[:, 0]
    order = lower[score[lower].argsort(stable=True)]
    first = torch.full_like(best, len(order), dtype=torch.long)
    first.scatter_reduce_(0, active[order], torch.arange(len(order), device=order.device), "amin")
    return order[first[first < len(order)]]
