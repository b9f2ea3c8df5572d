"""Bounds of inner neurons by ascent: each neuron gets planes of its own, where one walk has the same for all.

Tighter bounds of inner neurons tighten every subdomain of a search, so they are worth many of them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from calipers.bounds.budget import OutOfTimeError, WorkBudget
from calipers.bounds.dual import ascend
from calipers.bounds.interval import exact_nodes, transfer
from calipers.bounds.linear import LinearBounds, Propagation
from calipers.bounds.refine import unsettled
from calipers.bounds.subdomains import Root, Subdomains
from calipers.core.intervals import IntervalBounds
from calipers.core.problem import Specification
from calipers.core.sets import InputSet, is_box
from calipers.graph import ops
from calipers.graph.graph import Graph, Node

# Arrays of the size of a subdomain that one step of an ascent holds at a time.
_ARRAYS = 5


@dataclass(frozen=True)
class Tightening:
    """steps, rate: of the ascent for each side of each neuron.

    Few steps at a high rate come as far as many at a low one: five at 1 measured as good as twenty at .2.
    """

    steps: int = 5
    rate: float = 1.0

    def walks(self, root: Root) -> int:
        """What a run costs, in walks from the output to the input of one subdomain."""
        graph, bounds = root.propagation.graph, root.propagation.bounds
        total = 0.0
        for position in _refinable(root):
            wanted = unsettled(graph, position, bounds[position])
            before = sum(view.candidates * view.outputs for view in root.views if view.position < position)
            if wanted is not None:
                total += 2 * self.steps * int(wanted.sum()) * before / root.candidates
        return math.ceil(total)

    def run(self, base: LinearBounds, root: Root, budget: WorkBudget) -> Propagation:
        """The propagation that `base` gave for one input set, with tighter bounds; all that time allows for.

        Bounds never get looser. base: chooses the planes from them.
        """
        start, sets = root.propagation, root.input_set
        assert len(sets) == 1
        graph = start.graph
        refinable = set(_refinable(root))
        bounds, relaxations = start.bounds[:1], dict(start.relaxations)
        for position, node in enumerate(graph.nodes[1:], start=1):
            if isinstance(node.op, ops.Nonlinear):
                difference = start.differences.get(position)
                relaxations[position] = base.planes(graph, position, bounds[node.inputs[0]], difference)
            here = transfer(node.op, *(bounds[i] for i in node.inputs)).intersect(start.bounds[position]).ordered()
            if position in refinable:
                so_far = Propagation(graph, [*bounds, here], relaxations, start.differences)
                here = self._refined(so_far, sets, budget)
            bounds.append(here)
        return Propagation(graph, bounds, relaxations, start.differences)

    def _refined(self, so_far: Propagation, sets: InputSet, budget: WorkBudget) -> IntervalBounds:
        """Bounds of the last node that is bounded so far."""
        position = len(so_far.bounds) - 1
        here = so_far.bounds[position]
        wanted = unsettled(so_far.graph, position, here)
        if wanted is None:
            return here
        root = _cut(so_far, sets)
        neuron = wanted.flatten().nonzero()[:, 0]
        sides = here.lower.flatten().clone(), -here.upper.flatten()
        for sign, side in zip((1.0, -1.0), sides, strict=True):
            try:
                for chosen, found in self._ascents(root, neuron, sign, budget):
                    side[chosen] = torch.maximum(side[chosen], found)
            except OutOfTimeError:
                break
        shape = here.lower.shape
        return IntervalBounds(sides[0].reshape(shape), -sides[1].reshape(shape)).ordered()

    def _ascents(self, root: Root, neuron: Tensor, sign: float, budget: WorkBudget) -> Iterator[tuple[Tensor, Tensor]]:
        """Lower bounds of sign times some neurons, a chunk at a time."""
        outputs, like = root.propagation.graph.nodes[-1].shape[0], root.propagation.bounds[-1].lower
        size = (root.candidates + outputs) * like.element_size() * _ARRAYS
        for part in budget.chunks(len(neuron), size):
            chosen = neuron[part]
            count = torch.arange(len(chosen))
            C = like.new_zeros(1, len(chosen), outputs)
            C[0, count, chosen] = sign
            rows = replace(root, specification=Specification(C, like.new_zeros(1, len(chosen))))
            subdomains = Subdomains.of(rows, torch.zeros_like(count), count, [()] * len(count))
            walk = ascend(subdomains, subdomains.start(), self.steps, self.rate).walk
            yield chosen, walk.lower - walk.slack


def _refinable(root: Root) -> list[int]:
    """Nodes that an ascent can bound tighter than a walk: those with maxima before them."""
    graph = root.propagation.graph
    settled = exact_nodes(graph) if is_box(root.input_set) else {0}
    first = min((view.position for view in root.views), default=len(graph.nodes))
    return [position for position in range(first + 1, len(graph.nodes) - 1) if position not in settled]


def _cut(so_far: Propagation, sets: InputSet) -> Root:
    """What is bounded so far, as a network of its own that ends flat; its specification is a place holder."""
    position = len(so_far.bounds) - 1
    nodes, last = so_far.graph.nodes[: position + 1], so_far.bounds[-1]
    outputs = math.prod(nodes[-1].shape)
    graph = Graph((*nodes, Node("flat", ops.Reshape((outputs,)), (position,), (outputs,))))
    bounds = [*so_far.bounds, IntervalBounds(last.lower.flatten(1), last.upper.flatten(1))]
    relaxations = {p: planes for p, planes in so_far.relaxations.items() if p <= position}
    differences = {p: found for p, found in so_far.differences.items() if p <= position}
    nothing = Specification(last.lower.new_zeros(1, 1, outputs), last.lower.new_zeros(1, 1))
    return Root.of(Propagation(graph, bounds, relaxations, differences), sets, nothing)
