"""Linear bounds of the neurons before a nonlinearity, for those neurons whose bounds matter."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import singledispatch

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from calipers.bounds.budget import WorkBudget
from calipers.bounds.cost import row_bytes
from calipers.bounds.propagation.backsubstitution import backsubstitute
from calipers.bounds.propagation.concretize import concretize, enclose
from calipers.bounds.propagation.rows import Rows
from calipers.bounds.propagation.start import Selection, identity_rows, select
from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.bounds.relaxations.window import pixels
from calipers.core.intervals import IntervalBounds
from calipers.core.sets import InputSet
from calipers.graph import ops
from calipers.graph.graph import Graph


def unsettled(graph: Graph, position: int, cheap: IntervalBounds) -> Bool[Tensor, "batch *shape"] | None:
    """Which neurons of a node need better bounds than the cheap ones for the nonlinearities that follow; None: none."""
    if isinstance(graph.nodes[position].op, ops.Elementwise):
        return None  # monotone: the bounds of its input say all
    wanted = torch.zeros_like(cheap.lower, dtype=torch.bool)
    for user, node in enumerate(graph.nodes):
        if position in node.inputs and isinstance(node.op, ops.Nonlinear):
            pooled = any(isinstance(n.op, ops.MaxPool2d) and user in n.inputs for n in graph.nodes)
            wanted |= _matters(node.op, cheap, pooled)
    return wanted if bool(wanted.any()) else None


@singledispatch
def _matters(op: ops.Op, cheap: IntervalBounds, pooled: bool) -> Bool[Tensor, "batch *shape"]:
    """Which entries of its input a nonlinearity wants better bounds of. pooled: a maxpool follows it."""
    return cheap.lower < cheap.upper


@_matters.register
def _(op: ops.Relu, cheap: IntervalBounds, pooled: bool) -> Tensor:
    # A pool compares active neurons by their bounds; elsewhere the bounds of a stable one do not matter.
    return (cheap.upper > 0) if pooled else (cheap.upper > 0) & (cheap.lower < 0)


@_matters.register
def _(op: ops.LeakyRelu | ops.Absolute, cheap: IntervalBounds, pooled: bool) -> Tensor:
    return (cheap.upper > 0) & (cheap.lower < 0)


@_matters.register
def _(op: ops.Clamp, cheap: IntervalBounds, pooled: bool) -> Tensor:
    """Entries that a limit may cut."""
    within = [(cheap.lower < side) & (cheap.upper > side) for side in (op.low, op.high)]
    return within[0] | within[1]


@_matters.register
def _(op: ops.MaxPool2d, cheap: IntervalBounds, pooled: bool) -> Tensor:
    """Pixels that can be the maximum of some window."""
    upper, lower = pixels(op, cheap.upper), pixels(op, cheap.lower)
    best = lower.amax(1, keepdim=True)
    best = best if op.floor is None else best.clamp(min=op.floor)
    can = upper >= best
    height, width = cheap.lower.shape[-2:]
    top, left = op.padding
    padded = F.pad(torch.zeros_like(cheap.lower, dtype=torch.bool), (left, left, top, top))
    for pixel, (dy, dx) in enumerate(op.pixels):
        rows, columns = can.shape[-2:]
        ends = dy + op.stride[0] * (rows - 1) + 1, dx + op.stride[1] * (columns - 1) + 1
        padded[..., dy : ends[0] : op.stride[0], dx : ends[1] : op.stride[1]] |= can[:, pixel]
    return padded[..., top : top + height, left : left + width]


@dataclass(frozen=True, eq=False)
class Walks:
    """Walks from one node to the input, over planes found so far.

    relaxations: by node, for every nonlinearity before it. noise: of the node.
    """

    graph: Graph
    position: int
    relaxations: Mapping[int, Relaxation]
    noise: Tensor
    input_set: InputSet
    budget: WorkBudget

    def both_sides(self, wanted: Bool[Tensor, "batch *shape"], cheap: IntervalBounds) -> IntervalBounds:
        """Linear bounds for the wanted neurons, the cheap ones for all others."""
        lower, upper = cheap.lower.flatten(1).clone(), cheap.upper.flatten(1).clone()
        for chosen, at_input in self._chunks(wanted, None, lower.dtype):
            # Each place once: gradients of a repeated one would count as often.
            own = chosen.own
            place = chosen.image[:, None].expand_as(own)[own], chosen.neuron[own]
            low, high = enclose(self.input_set, at_input)
            lower[place], upper[place] = low[own], high[own]
        return IntervalBounds(lower.reshape(cheap.lower.shape), upper.reshape(cheap.upper.shape))

    def settle(self, wanted: Bool[Tensor, "batch *shape"], cheap: IntervalBounds) -> IntervalBounds:
        """Bounds as tight as both sides' and the cheap ones together, wherever it matters, for fewer rows.

        A neuron that its upper bound proves inactive needs no lower one. One that its lower bound proves active needs
        no upper one where no nonlinearity follows; before others that bound feeds their cheap ones.
        """
        below = cheap.lower + cheap.upper < 0
        if not _before_relus_alone(self.graph, self.position):
            alone = torch.zeros_like(wanted)
        elif _last(self.graph, self.position):
            alone = wanted
        else:
            alone = wanted & below
        together = wanted & ~alone
        found = self.both_sides(together, cheap).intersect(cheap) if bool(together.any()) else cheap
        for upwards in (below, ~below):
            if bool(alone.any()):
                found = self._one_side(alone, upwards, found)
                left = unsettled(self.graph, self.position, found)
                alone = torch.zeros_like(alone) if left is None else alone & left
        return found

    def _one_side(
        self, wanted: Bool[Tensor, "batch *shape"], upwards: Bool[Tensor, "batch *shape"], known: IntervalBounds
    ) -> IntervalBounds:
        """The known bounds with better upper ones for wanted neurons that are `upwards`, lower ones for the others."""
        lower, upper = known.lower.flatten(1).clone(), known.upper.flatten(1).clone()
        upwards = upwards.flatten(1)
        for chosen, at_input in self._chunks(wanted, upwards, lower.dtype):
            image, neuron = chosen.image[:, None], chosen.neuron
            value, up = concretize(self.input_set, at_input)[0], upwards[image, neuron]
            low, high = lower[image, neuron], upper[image, neuron]
            lower[image, neuron] = torch.where(up, low, torch.maximum(low, value))
            upper[image, neuron] = torch.where(up, torch.minimum(high, -value), high)
        return IntervalBounds(lower.reshape(known.lower.shape), upper.reshape(known.upper.shape))

    def _chunks(
        self, wanted: Bool[Tensor, "batch *shape"], negated: Bool[Tensor, "batch neurons"] | None, dtype: torch.dtype
    ) -> Iterator[tuple[Selection, Rows]]:
        """Neurons and their rows at the input: one-sided ones, of which some are negated, or two-sided ones."""
        node = self.graph.nodes[self.position]
        feature_map = len(node.shape) == 3
        # Rows of other shapes start over the flat value.
        start = node if feature_map else replace(node, shape=(math.prod(node.shape),))
        selection = select(wanted if feature_map else wanted.flatten(1))
        for chosen in selection.chunks(self.budget, row_bytes(self.graph, self.position, windowed=feature_map)):
            image = chosen.image[:, None]
            rows = identity_rows(start, chosen, 2 if negated is None else 1, dtype)
            coefficient = rows.coefficient
            if negated is not None:
                sign = 1 - 2 * negated[image, chosen.neuron].to(dtype)
                coefficient = coefficient * sign.reshape(*sign.shape, *[1] * (coefficient.dim() - 2))
            if not feature_map:
                coefficient = coefficient.unflatten(2, node.shape)
            rows = replace(rows, coefficient=coefficient, shape=node.shape)
            yield chosen, backsubstitute(self.graph, self.position, rows, self.relaxations, self.noise)[0]


def _before_relus_alone(graph: Graph, position: int) -> bool:
    """Whether a node goes into ReLUs and nowhere else, and these into no pool, which compares active neurons."""
    users = {i for i, node in enumerate(graph.nodes) if position in node.inputs}
    pooled = any(isinstance(node.op, ops.MaxPool2d) and not users.isdisjoint(node.inputs) for node in graph.nodes)
    return not pooled and position != graph.output and all(isinstance(graph.nodes[i].op, ops.Relu) for i in users)


def _last(graph: Graph, position: int) -> bool:
    """Whether no nonlinearity follows but those that a node goes into."""
    return all(position in n.inputs for n in graph.nodes[position + 1 :] if isinstance(n.op, ops.Nonlinear))
