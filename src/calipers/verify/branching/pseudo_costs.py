"""Pseudo-costs: what the splits that were made have taught about those that can be made (Benichou et al. 1971).

How much a split raises the bound differs between neurons by orders of magnitude and little between subdomains, so a
few trials tell more than any formula (reliability branching, Achterberg et al. 2005). The raise is taken to grow with
the square root of the split's gap; benchmarks/splitting.py compares it with raises proportional to the gap.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from calipers.core.devices import CPU

# The mean over all places counts as so many observations.
_PRIOR = 0.3


class PseudoCosts:
    """Of every place and both its sides, the mean of raise / sqrt(gap). A search has one, which learns as it goes on.

    Side 0 of a place keeps the lower-numbered candidate.
    """

    def __init__(self, places: int, device: torch.device = CPU) -> None:
        self._sum = torch.zeros(2, places, device=device)
        self._count = torch.zeros(2, places, device=device)

    def learn(
        self,
        side: Int[Tensor, " some"],
        place: Int[Tensor, " some"],
        gap: Float[Tensor, " some"],
        gain: Float[Tensor, " some"],
    ) -> None:
        """Splits with these gaps have raised their parents' bounds by these gains."""
        telling = gap > 0
        cost = gain[telling].clamp_min(0) / gap[telling].sqrt()
        where = (side[telling], place[telling])
        self._sum.index_put_(where, cost.to(self._sum), accumulate=True)
        self._count.index_put_(where, torch.ones_like(cost).to(self._count), accumulate=True)

    def observed(self, place: Int[Tensor, " some"]) -> Float[Tensor, " some"]:
        """How often the less known side of each place was seen."""
        return self._count[:, place].amin(0)

    def gains(self, place: Int[Tensor, " some"], gap: Float[Tensor, " some"]) -> Float[Tensor, "2 some"]:
        """What the two sides of splits with these gaps are expected to raise the bound by."""
        return self._cost[:, place] * gap.clamp_min(0).sqrt()

    def promise(self, gap: Float[Tensor, "batch places"]) -> Float[Tensor, "batch places"]:
        """The product of both sides' expected gains; -inf where gap is."""
        return self._cost.prod(0) * gap.clamp_min(0) + gap.clamp_max(0)

    @property
    def _cost(self) -> Float[Tensor, "2 places"]:
        seen = self._count.sum(1)
        mean = torch.where(seen > 0, self._sum.sum(1) / seen.clamp_min(1), 1.0).unsqueeze(1)
        return (self._sum + _PRIOR * mean) / (self._count + _PRIOR)
