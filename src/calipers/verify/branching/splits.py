"""Splits of a maximum: which of two candidates is larger. A set of them cuts a subdomain out of an input set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from calipers.bounds.relaxations.maxima import Maxima


class MaximumSplit(NamedTuple):
    """Candidate `kept` of an output is at least candidate `dropped`. For a ReLU: 0 is its input, 1 the floor."""

    position: int
    output: int
    kept: int
    dropped: int

    @property
    def other(self) -> "MaximumSplit":
        """The split that covers the rest."""
        return MaximumSplit(self.position, self.output, self.dropped, self.kept)


@dataclass(frozen=True, eq=False)
class Halfspaces:
    """The splits of a batch of subdomains at one maximum, as linear conditions kept - dropped >= 0 on its input.

    domain, slot: whose split it is, and which of its splits. kept, dropped: flat input entries, -1 for the floor.
    """

    view: Maxima
    domain: Int[Tensor, " splits"]
    slot: Int[Tensor, " splits"]
    output: Int[Tensor, " splits"]
    candidate: Int[Tensor, " splits"]
    kept: Int[Tensor, " splits"]
    dropped: Int[Tensor, " splits"]

    @classmethod
    def of(cls, view: Maxima, splits: Sequence[Sequence[MaximumSplit]]) -> "Halfspaces":
        """The splits at `view` among those of each subdomain."""
        mine = [
            (domain, slot, split.output, split.kept, split.dropped)
            for domain, several in enumerate(splits)
            for slot, split in enumerate(several)
            if split.position == view.position
        ]
        columns = torch.tensor(mine, dtype=torch.long, device=view.entry.device).reshape(-1, 5)
        domain, slot, output, kept, dropped = columns.unbind(1)
        return cls(view, domain, slot, output, dropped, view.entry_of(kept, output), view.entry_of(dropped, output))

    def __len__(self) -> int:
        return len(self.domain)

    def tighten(self, lower: Float[Tensor, "batch entries"], upper: Float[Tensor, "batch entries"]) -> None:
        """Raise what is kept to the lower bound of what is dropped, and lower that to the upper bound of the kept."""
        floor = torch.full_like(self.domain, 0, dtype=lower.dtype) + (self.view.floor or 0.0)
        low = torch.where(self.dropped >= 0, lower[self.domain, self.dropped.clamp_min(0)], floor)
        high = torch.where(self.kept >= 0, upper[self.domain, self.kept.clamp_min(0)], floor)
        for bound, entry, value, reduce in ((lower, self.kept, low, "amax"), (upper, self.dropped, high, "amin")):
            real = entry >= 0
            flat = self.domain[real] * bound.shape[1] + entry[real]
            bound.view(-1).scatter_reduce_(0, flat, value[real], reduce)

    def values(self, inputs: Float[Tensor, "batch entries"]) -> Float[Tensor, " splits"]:
        """By how much kept exceeds dropped at given inputs of the maximum; negative where the split is broken."""
        floor = self.view.floor or 0.0
        kept = torch.where(self.kept >= 0, inputs[self.domain, self.kept.clamp_min(0)], floor)
        dropped = torch.where(self.dropped >= 0, inputs[self.domain, self.dropped.clamp_min(0)], floor)
        return kept - dropped

    def subtract(
        self,
        coefficient: Float[Tensor, "batch entries"],
        constant: Float[Tensor, " batch"],
        multiplier: Float[Tensor, " splits"],
        room: Float[Tensor, "batch entries"],
    ) -> None:
        """Take multiplier * (kept - dropped) off linear functionals of the input: for multipliers >= 0 they fall.

        room: what a coefficient of each entry pays for noise and rounding, which is taken off too.
        """
        floor = self.view.floor or 0.0
        for entry, share in ((self.kept, -multiplier), (self.dropped, multiplier)):
            real = entry >= 0
            domain = self.domain[real]
            coefficient.index_put_((domain, entry[real]), share[real], accumulate=True)
            constant.index_put_((domain,), -share[real].abs() * room[domain, entry[real]], accumulate=True)
            constant.index_put_((self.domain[~real],), share[~real] * floor, accumulate=True)
