"""Which splits a subdomain has, and how far each of their maxima is from its planes."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from calipers.bounds.relaxations.maxima import ABSENT
from calipers.verify.branching.splits import MaximumSplit
from calipers.verify.branching.subdomains import DualWalk, Subdomains, Variables


class Choice(NamedTuple):
    """A split that can be made. place: of the output that it splits, among those of all maxima. gap: its looseness."""

    split: MaximumSplit
    place: int
    gap: float


@dataclass(frozen=True, eq=False)
class Account:
    """Of each subdomain, at the point x that attains its bound: its row's true value, and where the bound loses it.

    gap: of every maximum, coefficient times (output minus plane); -inf where there is nothing to split. Each is >= 0,
    and with the multipliers' terms they add up to the value minus the bound: an exact account of the looseness at x.
    """

    value: Float[Tensor, " batch"]
    gap: Float[Tensor, "batch places"]

    @classmethod
    def of(cls, subdomains: Subdomains, variables: Variables, walk: DualWalk) -> "Account":
        root = subdomains.root
        values = root.propagation.graph.values(walk.lowest)
        C, d = (t[subdomains.image, subdomains.row] for t in (root.specification.C, root.specification.d))
        gaps = [C.new_empty(len(C), 0)]
        for view in root.views:
            ceiling = subdomains.ceilings[view.position]
            laid = view.spread(values[view.source].flatten(1))
            output, share = values[view.position].flatten(1), walk.coefficient[view.position]
            below = (variables.below[view.position] * subdomains.alive[view.position]).mul_(laid).sum(1)
            above = (ceiling.slope * laid[:, : view.pixels]).sum(1) + ceiling.bias
            gap = (share * (output - torch.where(share > 0, below, above))).clamp_min(0)
            gaps.append(gap.masked_fill(ceiling.alive.sum(1) < 2, -torch.inf))
        return cls((C * values[-1].flatten(1)).sum(1) + d, torch.cat(gaps, 1))

    def choices(
        self, subdomains: Subdomains, chosen: Int[Tensor, " some"], places: Int[Tensor, "some most"]
    ) -> list[tuple[Choice, ...]]:
        """The splits at some places of some subdomains: between the two candidates with the largest upper bounds."""
        one, two, position = torch.zeros_like(places), torch.zeros_like(places), torch.zeros_like(places)
        output, offset = places.clone(), 0
        for view in subdomains.root.views:
            here = (places >= offset) & (places < offset + view.outputs)
            domain, local = chosen.unsqueeze(1).expand_as(places)[here], places[here] - offset
            ceiling = subdomains.ceilings[view.position]
            alive = ceiling.alive[domain, :, local]
            largest = ceiling.upper[domain, :, local].masked_fill(~alive, 2 * ABSENT).topk(min(2, view.candidates))
            one[here], two[here] = largest.indices[:, 0], largest.indices[:, -1]
            position[here], output[here] = view.position, local
            offset += view.outputs
        gaps = self.gap[chosen.unsqueeze(1), places]
        fields = (position, output, one, two, places, gaps)
        return [
            tuple(Choice(MaximumSplit(p, o, a, b), place, gap) for p, o, a, b, place, gap in entries if gap >= 0)
            for entries in (zip(*several, strict=True) for several in zip(*(f.tolist() for f in fields), strict=True))
        ]
