"""Rows that start the walk: identity rows over the neurons of a node, or a specification's rows."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from calipers.bounds.budget import WorkBudget
from calipers.bounds.propagation.rows import Rows
from calipers.bounds.rounding import row_error
from calipers.core.intervals import IntervalBounds
from calipers.core.problem import Specification
from calipers.graph.graph import Node


@dataclass(frozen=True, eq=False)
class Selection:
    """Neurons of one node whose bounds are wanted, as groups that share an image and, in a feature map, a place.

    image: (groups,). neuron: (groups, rows) flat index in the node's value. count: (groups,) how many of a group's
    rows are its own, in descending order; rows beyond repeat the first.
    """

    image: Int[Tensor, " groups"]
    neuron: Int[Tensor, "groups rows"]
    count: Int[Tensor, " groups"]

    def __len__(self) -> int:
        return len(self.image)

    @property
    def own(self) -> Bool[Tensor, "groups rows"]:
        """Which rows are their group's own."""
        return torch.arange(self.neuron.shape[1], device=self.count.device) < self.count[:, None]

    def chunks(self, budget: WorkBudget, row_bytes: int) -> Iterator["Selection"]:
        """Consecutive groups within the budget, each chunk without the rows that none of its groups needs.

        Raises OutOfTimeError where the deadline comes before the next of them.
        """
        start = 0
        while start < len(self):
            budget.check()
            rows = int(self.count[start])
            end = start + budget.fit(row_bytes * rows)
            yield Selection(self.image[start:end], self.neuron[start:end, :rows], self.count[start:end])
            start = end


def select(wanted: Bool[Tensor, "batch *shape"]) -> Selection:
    """Group wanted neurons: by place in a feature map, by image in a vector; the largest groups come first."""
    if wanted.dim() == 4:
        channels, height, width = wanted.shape[1:]
        by_place = wanted.permute(0, 2, 3, 1).reshape(-1, channels)
        place, channel, count = _by_size(by_place)
        spot = place % (height * width)
        return Selection(place // (height * width), channel * (height * width) + spot[:, None], count)
    return Selection(*_by_size(wanted))


def _by_size(
    mask: Bool[Tensor, "groups n"],
) -> tuple[Int[Tensor, " some"], Int[Tensor, "some most"], Int[Tensor, " some"]]:
    """Rows of the mask with any entry, most entries first: which row, its entries' columns, how many there are."""
    count, group = mask.sum(1).sort(descending=True, stable=True)
    group, count = group[count > 0], count[count > 0]
    most = int(count[0]) if len(count) else 0
    column = mask[group].to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
    own = torch.arange(most, device=mask.device) < count[:, None]
    return group, torch.where(own, column, column[:, :1]), count


def identity_rows(node: Node, selection: Selection, sides: int, dtype: torch.dtype) -> Rows:
    """Rows that are the selected neurons themselves."""
    groups, count = selection.neuron.shape
    constant = torch.zeros(sides, groups, count, dtype=dtype, device=selection.neuron.device)
    if len(node.shape) == 3:
        channels, height, width = node.shape
        spot = selection.neuron[:, 0] % (height * width)
        corner = torch.stack([spot // width, spot % width], dim=1)
        channel = selection.neuron // (height * width)
        one_hot = torch.nn.functional.one_hot(channel, channels).to(dtype)
        return Rows(one_hot[..., None, None], constant, selection.image, corner, node.shape)
    one_hot = torch.nn.functional.one_hot(selection.neuron, node.shape[0]).to(dtype)
    return Rows(one_hot, constant, selection.image, None, node.shape)


def specification_rows(specification: Specification, outputs: IntervalBounds) -> Rows:
    """Rows C f + d over the network's output, less what their own evaluation may round; lower side only."""
    C, d = specification.C, specification.d
    image = torch.arange(len(C), device=C.device)
    return Rows(C, (d - row_error(C, d, outputs)).unsqueeze(0), image, None, (C.shape[-1],))


def cut(rows: Rows, parts: Iterator[slice]) -> Iterator[Rows]:
    """The groups of `rows` in chunks."""
    for part in parts:
        corner = None if rows.corner is None else rows.corner[part]
        yield Rows(rows.coefficient[part], rows.constant[:, part], rows.image[part], corner, rows.shape)
