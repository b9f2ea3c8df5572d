"""What a search has proven, written down as evidence for a certificate."""

from collections.abc import Mapping

import torch
from torch import Tensor

from calipers.bounds.relaxation import Relaxation
from calipers.bounds.subdomains import Subdomains, Variables
from calipers.check import Halving, Leaf, Part, Slopes
from calipers.check import Split as CheckedSplit


class Journal:
    """Takes down the proven pieces of one search: boxes, or subdomains of one set."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.leaves: list[Leaf] = []

    def subdomains(self, subdomains: Subdomains, variables: Variables, proven: Tensor) -> None:
        """Subdomains whose row the variables prove."""
        if not bool(proven.any()):
            return
        planes = subdomains.planes(variables)
        for i in proven.nonzero()[:, 0].tolist():
            splits = tuple(CheckedSplit(*split) for split in subdomains.splits[i])
            multipliers = variables.multiplier[i, : len(splits)].double().numpy()
            self.leaves.append(Leaf((int(subdomains.row[i]),), splits, multipliers, slopes_of(planes, i)))

    def boxes(self, cuts: list[tuple[Halving, ...]], planes: Mapping[int, Relaxation], proven: Tensor) -> None:
        """Boxes on which the planes prove every row. cuts: of the proven ones."""
        for halvings, i in zip(cuts, proven.nonzero()[:, 0].tolist(), strict=True):
            slopes = slopes_of(planes, i)
            self.parts.append(Part(halvings, slopes, (Leaf((), (), torch.zeros(0).numpy(), slopes),)))


def slopes_of(planes: Mapping[int, Relaxation], i: int) -> dict[int, Slopes]:
    """The slopes of one set of a batch, candidates first."""
    return {position: _slopes(planes[position], i) for position in planes}


def _slopes(planes: Relaxation, i: int) -> Slopes:
    one = planes.at(torch.tensor([i]))
    windowed = one.lower_slope.dim() > one.lower_bias.dim()
    below, above = ((s[0] if windowed else s).flatten(1).double().numpy() for s in (one.lower_slope, one.upper_slope))
    return Slopes(below, above)
