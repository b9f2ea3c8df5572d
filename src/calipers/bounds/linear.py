"""Linear bounds layer by layer: bounds of each node before a nonlinearity feed the relaxations of the next walk."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from calipers.bounds import activations, capm, crown, deepz, maxlin
from calipers.bounds.backward import pull_back
from calipers.bounds.budget import MemoryBudget
from calipers.bounds.concretize import concretize, magnitude
from calipers.bounds.cost import row_bytes
from calipers.bounds.interval import exact_nodes, transfer
from calipers.bounds.method import MarginBounds
from calipers.bounds.refine import refine, unsettled
from calipers.bounds.relaxation import Relaxation
from calipers.bounds.start import cut, specification_rows
from calipers.core.intervals import IntervalBounds
from calipers.core.problem import Specification
from calipers.core.sets import InputSet, is_box
from calipers.graph import ops
from calipers.graph.graph import Graph
from calipers.graph.rewrite import fuse_windows

# Rounding errors of sums of this kind grow like the root of their length; 64 ulps of the sum of magnitudes is ample.
_ULPS = 64


@dataclass(frozen=True, eq=False)
class Propagation:
    """Bounds of every node and planes of every nonlinearity, by position in `graph`, over a batch of input sets."""

    graph: Graph
    bounds: list[IntervalBounds]
    relaxations: dict[int, Relaxation]


@dataclass(frozen=True)
class LinearBounds:
    """Bounds by one backward walk per node, with relaxations chosen from the node's interval bounds.

    relu, maxpool, smooth: choose the planes. fused: relax a ReLU and the maxpool after it as one window.
    intersect: keep the tighter of the walk's bounds and the intervals' (published methods replace them).
    """

    name: str
    relu: Callable[[IntervalBounds], Relaxation]
    maxpool: Callable[[ops.MaxPool2d, IntervalBounds], Relaxation]
    smooth: Callable[[ops.Op, IntervalBounds], Relaxation] = activations.relax
    fused: bool = False
    intersect: bool = False

    def margins(
        self, graph: Graph, input_set: InputSet, specification: Specification, budget: MemoryBudget
    ) -> MarginBounds:
        propagation = self.propagate(graph, input_set, budget)
        return specification_bounds(propagation, input_set, specification, budget)

    def propagate(self, graph: Graph, input_set: InputSet, budget: MemoryBudget) -> Propagation:
        """Bounds layer by layer; with `fused`, positions refer to the rewritten graph."""
        if self.fused:
            graph = fuse_windows(graph)
        box = input_set.box()
        bounds = [IntervalBounds(box.lower, box.upper)]
        relaxations: dict[int, Relaxation] = {}
        settled = exact_nodes(graph) if is_box(input_set) else {0}
        for position, node in enumerate(graph.nodes[1:], start=1):
            if isinstance(node.op, ops.Nonlinear):
                relaxations[position] = self.relax(node.op, bounds[node.inputs[0]])
            bounds.append(transfer(node.op, *(bounds[i] for i in node.inputs)))
            if position not in settled:
                cheap = bounds[position]
                wanted = unsettled(graph, position, cheap)
                if wanted is not None:
                    linear = refine(graph, position, wanted, cheap, input_set, relaxations, budget)
                    bounds[position] = linear.intersect(cheap) if self.intersect else linear
        return Propagation(graph, bounds, relaxations)

    def relax(self, op: ops.Nonlinear, bounds: IntervalBounds) -> Relaxation:
        """The planes of a nonlinearity over intervals of its input."""
        match op:
            case ops.Relu():
                return self.relu(bounds)
            case ops.MaxPool2d():
                return self.maxpool(op, bounds)
            case _:
                return self.smooth(op, bounds)


def specification_bounds(
    propagation: Propagation, input_set: InputSet, specification: Specification, budget: MemoryBudget
) -> MarginBounds:
    """Lower bounds of specification rows by one walk from the output."""
    graph = propagation.graph
    graph.require_order(specification.C, specification.d)
    rows = specification_rows(specification.C, specification.d)
    bytes_per_image = specification.d.shape[1] * row_bytes(graph, graph.output, windowed=False)
    box = input_set.box()
    lower, slack = [], []
    for part in cut(rows, budget.chunks(len(specification), bytes_per_image)):
        at_input = pull_back(graph, graph.output, part, propagation.relaxations)[0]
        lower.append(concretize(input_set, at_input)[0])
        slack.append(_ULPS * torch.finfo(box.lower.dtype).eps * magnitude(box, at_input))
    return MarginBounds(torch.cat(lower), torch.cat(slack))


CAPM = LinearBounds("capm", capm.relax_relu, capm.relax_maxpool)
DEEPZ = LinearBounds("deepz", deepz.relax_relu, deepz.relax_maxpool, activations.relax_parallel)
CROWN = LinearBounds("crown", crown.relax_relu, crown.relax_maxpool)
MAXLIN = LinearBounds("maxlin", crown.relax_relu, maxlin.relax_maxpool)
FUSED = LinearBounds("fused", crown.relax_relu, maxlin.relax_maxpool, fused=True, intersect=True)
