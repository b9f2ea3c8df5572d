"""Linear bounds layer by layer: bounds of each node before a nonlinearity feed the relaxations of the next walk."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from calipers.bounds.budget import WorkBudget
from calipers.bounds.cost import row_bytes
from calipers.bounds.method import MarginBounds
from calipers.bounds.propagation.backsubstitution import backsubstitute
from calipers.bounds.propagation.concretize import concretize
from calipers.bounds.propagation.forward import quick_intervals
from calipers.bounds.propagation.interval import exact_nodes, transfer
from calipers.bounds.propagation.start import cut, specification_rows
from calipers.bounds.propagation.walks import Walks, unsettled
from calipers.bounds.relaxations import activations, capm, crown, deepz, maxlin, paired
from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.bounds.rounding import charged, input_bounds, noise_of
from calipers.core.intervals import IntervalBounds
from calipers.core.problem import Specification
from calipers.core.sets import InputSet
from calipers.graph import ops
from calipers.graph.graph import Graph
from calipers.graph.rewrite import fuse_windows


@dataclass(frozen=True, eq=False)
class Propagation:
    """Bounds of every node and planes of every nonlinearity, by position in `graph`, over a batch of input sets.

    noise: of every node (`rounding.noise_of`). differences: of the candidates of maxpools, where they were measured
    (`paired.measured`).
    """

    graph: Graph
    bounds: list[IntervalBounds]
    relaxations: dict[int, Relaxation]
    noise: list[Tensor]
    differences: Mapping[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class LinearBounds:
    """Bounds by one backward walk per node, with relaxations chosen from the node's interval bounds.

    relu, maxpool, smooth: choose the planes. fused: relax a ReLU and the maxpool after it as one window.
    paired: planes above maxpools that use bounds of pairwise differences.
    intersect: keep the tighter of the walk's bounds and the intervals' (published methods replace them), and where few
    inputs are free, settle first what one pass forward settles.
    """

    name: str
    relu: Callable[[IntervalBounds], Relaxation]
    maxpool: Callable[[ops.MaxPool2d, IntervalBounds], Relaxation]
    smooth: Callable[[ops.Op, IntervalBounds], Relaxation] = activations.relax
    fused: bool = False
    paired: bool = False
    intersect: bool = False

    def on(self, graph: Graph) -> "LinearBounds":
        """The method without the choices that a graph has no use for: equal ones give equal bounds there."""
        if any(isinstance(node.op, ops.MaxPool2d) for node in graph.nodes):
            return self
        return replace(self, name="", maxpool=crown.relax_maxpool, fused=False, paired=False)

    def margins(
        self, graph: Graph, input_set: InputSet, specification: Specification, budget: WorkBudget
    ) -> MarginBounds:
        propagation = self.propagate(graph, input_set, budget)
        return specification_bounds(propagation, input_set, specification, budget)

    def propagate(
        self,
        graph: Graph,
        input_set: InputSet,
        budget: WorkBudget,
        known: Mapping[int, IntervalBounds] | None = None,
    ) -> Propagation:
        """Bounds layer by layer; with `fused`, positions refer to the rewritten graph.

        known: bounds of nodes that hold on each set, those on a set that contains it: they settle what a pass forward
        would.
        """
        if self.fused:
            graph = fuse_windows(graph)
        bounds = [input_bounds(input_set)]
        noise = [noise_of(graph, 0, bounds, [])]
        relaxations: dict[int, Relaxation] = {}
        differences: dict[int, Tensor] = {}
        quick = quick_intervals(self, graph, input_set, budget) if self.intersect and not known else {}
        settled = exact_nodes(graph, input_set)
        for position, node in enumerate(graph.nodes[1:], start=1):
            so_far = Propagation(graph, bounds, relaxations, noise, differences)
            output = transfer(node.op, *(bounds[i] for i in node.inputs))
            if self.paired and isinstance(node.op, ops.MaxPool2d):
                differences[position] = self._differences(so_far, position, input_set, budget)
            if isinstance(node.op, ops.Nonlinear):
                relaxations[position] = self.planes(so_far, position, output)
            bounds.append(output)
            for better in (quick, known or {}):
                if position in better:
                    bounds[position] = bounds[position].intersect(better[position]).ordered()
            noise.append(noise_of(graph, position, bounds, noise))
            if position not in settled:
                cheap = bounds[position]
                wanted = unsettled(graph, position, cheap)
                if wanted is not None:
                    walks = Walks(graph, position, relaxations, noise[position], input_set, budget)
                    bounds[position] = (walks.settle if self.intersect else walks.both_sides)(wanted, cheap)
        return Propagation(graph, bounds, relaxations, noise, differences)

    def _differences(self, so_far: Propagation, position: int, input_set: InputSet, budget: WorkBudget) -> Tensor:
        source = so_far.graph.nodes[position].inputs[0]
        given, noise = so_far.bounds[source], so_far.noise[source]
        return paired.measured(so_far.graph, position, given, noise, so_far.relaxations, input_set, budget)

    def planes(self, so_far: Propagation, position: int, output: IntervalBounds) -> Relaxation:
        """The planes of a node over the bounds of its input so far, with room for rounding.

        output: the interval of the node over these bounds.
        """
        graph, node = so_far.graph, so_far.graph.nodes[position]
        given, difference = so_far.bounds[node.inputs[0]], so_far.differences.get(position)
        assert isinstance(node.op, ops.Nonlinear)
        if difference is not None:
            found = paired.relax_maxpool(graph, position, given, difference)
        else:
            found = self.relax(node.op, given)
        return charged(graph, position, found, given, so_far.noise[node.inputs[0]], output).channels_last()

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
    propagation: Propagation, input_set: InputSet, specification: Specification, budget: WorkBudget
) -> MarginBounds:
    """Lower bounds of specification rows by one walk from the output."""
    graph = propagation.graph
    graph.require_order(specification.C, specification.d)
    rows = specification_rows(specification, propagation.bounds[graph.output])
    bytes_per_image = specification.d.shape[1] * row_bytes(graph, graph.output, windowed=False)
    lower = []
    for part in cut(rows, budget.chunks(len(specification), bytes_per_image)):
        at_input = backsubstitute(graph, graph.output, part, propagation.relaxations, propagation.noise[graph.output])[
            0
        ]
        lower.append(concretize(input_set, at_input)[0])
    return MarginBounds(torch.cat(lower))


CAPM = LinearBounds("capm", capm.relax_relu, capm.relax_maxpool)
DEEPZ = LinearBounds("deepz", deepz.relax_relu, deepz.relax_maxpool, activations.relax_parallel)
CROWN = LinearBounds("crown", crown.relax_relu, crown.relax_maxpool)
MAXLIN = LinearBounds("maxlin", crown.relax_relu, maxlin.relax_maxpool)
FUSED = LinearBounds("fused", crown.relax_relu, maxlin.relax_maxpool, fused=True, intersect=True)
PAIRED = LinearBounds("paired", crown.relax_relu, maxlin.relax_maxpool, fused=True, paired=True, intersect=True)
