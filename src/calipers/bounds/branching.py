"""Which split to make: where the planes are furthest from the network at the point that attains the bound."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.bounds.maxima import ABSENT
from calipers.bounds.splits import Split
from calipers.bounds.subdomains import Subdomains, Variables, Walk


@dataclass(frozen=True, eq=False)
class Branching:
    """For each subdomain its row's true value at the walk's lowest point, and the split to make, if one is left."""

    value: Float[Tensor, " batch"]
    split: list[Split | None]


def branch(subdomains: Subdomains, variables: Variables, walk: Walk) -> Branching:
    """Split the maximum with the largest share in the gap at the walk's lowest point x.

    There the row's true value minus the bound is a sum over the nonlinearities, coefficient times (output minus
    plane), each term >= 0, and of the multipliers' terms: an exact account of the looseness where it matters.
    """
    root = subdomains.root
    values = root.propagation.graph.values(walk.lowest)
    C, d = (t[subdomains.image, subdomains.row] for t in (root.specification.C, root.specification.d))
    gaps = []
    for view in root.views:
        ceiling = subdomains.ceilings[view.position]
        laid = view.spread(values[view.source].flatten(1))
        output, share = values[view.position].flatten(1), walk.coefficient[view.position]
        below = (variables.below[view.position] * laid.masked_fill(~ceiling.alive, 0.0)).sum(1)
        above = (ceiling.slope * laid[:, : view.pixels]).sum(1) + ceiling.bias
        gap = share * (output - torch.where(share > 0, below, above))
        gaps.append(gap.masked_fill(ceiling.alive.sum(1) < 2, -torch.inf))
    value = (C * values[-1].flatten(1)).sum(1) + d
    if not gaps:
        return Branching(value, [None] * len(value))
    best, place = torch.cat(gaps, 1).max(1)
    return Branching(
        value, [_split(subdomains, i, int(k)) if best[i] > -torch.inf else None for i, k in enumerate(place)]
    )


def _split(subdomains: Subdomains, domain: int, place: int) -> Split:
    """Between the two candidates with the largest upper bounds."""
    for view in subdomains.root.views:
        if place < view.outputs:
            break
        place -= view.outputs
    ceiling = subdomains.ceilings[view.position]
    upper = ceiling.upper[domain, :, place].masked_fill(~ceiling.alive[domain, :, place], 2 * ABSENT)
    one, two = upper.topk(2).indices.tolist()
    return Split(view.position, place, one, two)
