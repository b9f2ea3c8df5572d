"""ReLU and maxpool seen alike: every output is the largest of a few candidates."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from calipers.bounds.relaxations.window import pixels
from calipers.graph import ops
from calipers.graph.graph import Graph

# Stands for minus infinity where a product with 0 must stay 0.
ABSENT = -1e30


@dataclass(frozen=True, eq=False)
class Maxima:
    """One nonlinearity. Candidates are entries of its input, and last the floor, where there is one.

    position, source: of the node and its input. entry: (pixels, outputs) flat indices into the input, -1 for padding.
    A ReLU has one pixel and the floor 0.
    """

    position: int
    source: int
    entry: Int[Tensor, "pixels outputs"]
    floor: float | None

    @classmethod
    def of(cls, graph: Graph, position: int) -> "Maxima | None":
        """The view of a node; None if it is no maximum."""
        node = graph.nodes[position]
        shape = graph.nodes[node.inputs[0]].shape if node.inputs else ()
        number = torch.arange(math.prod(shape), dtype=torch.float64, device=graph.device)
        match node.op:
            case ops.Relu():
                return cls(position, node.inputs[0], number.long().unsqueeze(0), 0.0)
            case ops.MaxPool2d():
                views = pixels(node.op, number.reshape(1, *shape))[0].flatten(1)
                entry = torch.where(torch.isfinite(views), views, -1.0).long()
                return cls(position, node.inputs[0], entry, node.op.floor)
        return None

    @property
    def pixels(self) -> int:
        return self.entry.shape[0]

    @property
    def outputs(self) -> int:
        return self.entry.shape[1]

    @property
    def candidates(self) -> int:
        return self.pixels + (self.floor is not None)

    def spread(self, values: Float[Tensor, "batch entries"]) -> Float[Tensor, "batch candidates outputs"]:
        """The candidates of every output, given the flat input; padding is absent."""
        constants = values.new_tensor([self.floor or 0.0, ABSENT]).expand(len(values), 2)
        extended = torch.cat([values, constants], 1)
        end = values.shape[1]
        entry = torch.where(self.entry < 0, end + 1, self.entry).to(values.device)
        if self.floor is not None:
            entry = torch.cat([entry, torch.full_like(entry[:1], end)])
        # Several times as fast as indexing by a table.
        return extended.gather(1, entry.flatten().expand(len(values), -1)).unflatten(1, entry.shape)

    def gather(
        self, values: Float[Tensor, "batch entries"], domain: Int[Tensor, " some"], output: Int[Tensor, " some"]
    ) -> Float[Tensor, "some candidates"]:
        """The candidates of some outputs, each of one member of the batch."""
        entry = self.entry[:, output].T
        laid = values[domain.unsqueeze(1), entry.clamp_min(0)].masked_fill_(entry < 0, ABSENT)
        if self.floor is None:
            return laid
        return torch.cat([laid, torch.full_like(laid[:, :1], self.floor)], 1)

    def touched(self, changed: Bool[Tensor, "batch entries"]) -> Bool[Tensor, "batch outputs"]:
        """Outputs that have a changed entry among their candidates."""
        return (changed[:, self.entry.clamp_min(0)] & (self.entry >= 0)).any(1)

    def entry_of(self, candidate: Int[Tensor, " some"], output: Int[Tensor, " some"]) -> Int[Tensor, " some"]:
        """The flat input index of candidates; -1 for the floor."""
        inside = candidate < self.pixels
        return torch.where(inside, self.entry[candidate.clamp_max(self.pixels - 1), output], -1)


def maxima(graph: Graph) -> tuple[Maxima, ...]:
    """All maxima of a graph, from the input to the output."""
    views = (Maxima.of(graph, position) for position in range(len(graph.nodes)))
    return tuple(view for view in views if view is not None)
