"""What a search has proven, written down as evidence for a certificate."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from calipers.bounds.propagation.linear import Propagation
from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.check import Halving, Leaf, Part, Slopes, Tightened
from calipers.check import Split as CheckedSplit
from calipers.verify.branching.dual import Ascent
from calipers.verify.branching.subdomains import Subdomains, Variables


class Journal:
    """Takes down the proven pieces of one search: boxes, or subdomains of one set."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.leaves: list[Leaf] = []
        self._tightened: dict[int, list[Tightened]] = {}

    def whole(self, propagation: Propagation, *, paired: bool) -> Part:
        """The set as one part, with all leaves. propagation: what their subdomains share."""
        tightened = tuple(_joined(rows) for rows in self._tightened.values())
        return Part((), slopes_of(propagation.relaxations, 0), tuple(self.leaves), paired, tightened)

    def forget(self, rows: Collection[int]) -> None:
        """Drop the leaves of rows that are searched anew."""
        self.leaves = [leaf for leaf in self.leaves if not set(leaf.rows) & set(rows)]

    def tightened(self, so_far: Propagation, plus: Tensor, minus: Tensor, ascent: Ascent) -> None:
        """Rows over the last node that is bounded so far, and the planes that bound them."""
        row, place, weight = {}, {}, {}
        for position, below in ascent.variables.below.items():
            shared = _slopes(so_far.relaxations[position], 0).below
            weights = below[:, : len(shared)].cpu().double().numpy()
            # Planes below are used by positive coefficients only.
            used = (ascent.walk.coefficient[position] > 0).unsqueeze(1).cpu().numpy()
            row[position], candidate, output = (used & (weights != shared)).nonzero()
            place[position] = candidate * weights.shape[2] + output
            weight[position] = weights[row[position], candidate, output]
        position = len(so_far.bounds) - 1
        found = Tightened(position, plus.cpu().numpy(), minus.cpu().numpy(), row, place, weight)
        self._tightened.setdefault(position, []).append(found)

    def subdomains(self, subdomains: Subdomains, variables: Variables, proven: Tensor) -> None:
        """Subdomains whose row the variables prove."""
        if not bool(proven.any()):
            return
        planes = subdomains.planes(variables)
        for i in proven.nonzero()[:, 0].tolist():
            splits = tuple(CheckedSplit(*split) for split in subdomains.splits[i])
            multipliers = variables.multiplier[i, : len(splits)].cpu().double().numpy()
            self.leaves.append(Leaf((int(subdomains.row[i]),), splits, multipliers, slopes_of(planes, i)))

    def boxes(self, cuts: list[tuple[Halving, ...]], planes: Mapping[int, Relaxation], proven: Tensor) -> None:
        """Boxes on which the planes prove every row. cuts: of the proven ones."""
        for halvings, i in zip(cuts, proven.nonzero()[:, 0].tolist(), strict=True):
            slopes = slopes_of(planes, i)
            self.parts.append(Part(halvings, slopes, (Leaf((), (), np.zeros(0, dtype=np.float32), slopes),)))


def slopes_of(planes: Mapping[int, Relaxation], i: int) -> dict[int, Slopes]:
    """The slopes of one set of a batch, candidates first."""
    return {position: _slopes(planes[position], i) for position in planes}


def _slopes(planes: Relaxation, i: int) -> Slopes:
    one = planes.at(torch.tensor([i], device=planes.lower_bias.device))
    windowed = one.lower_slope.dim() > one.lower_bias.dim()
    below, above = (
        (s[0] if windowed else s).flatten(1).cpu().double().numpy() for s in (one.lower_slope, one.upper_slope)
    )
    return Slopes(below, above)


def _joined(several: Sequence[Tightened]) -> Tightened:
    """Rows over one node as one."""
    first = several[0]
    starts = np.cumsum([0, *(len(rows.plus) for rows in several[:-1])])
    row = {p: np.concatenate([rows.row[p] + s for rows, s in zip(several, starts, strict=True)]) for p in first.row}
    place = {p: np.concatenate([rows.place[p] for rows in several]) for p in first.row}
    weight = {p: np.concatenate([rows.weight[p] for rows in several]) for p in first.row}
    plus, minus = (np.concatenate(side) for side in zip(*((rows.plus, rows.minus) for rows in several), strict=True))
    return Tightened(first.position, plus, minus, row, place, weight)
