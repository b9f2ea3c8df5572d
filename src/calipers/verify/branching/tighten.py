"""Bounds of inner neurons by ascent: each neuron gets planes of its own, where one walk has the same for all.

Tighter bounds of inner neurons tighten every subdomain of a search, so they are worth many of them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from calipers.bounds.budget import OutOfTimeError, WorkBudget
from calipers.bounds.cost import row_bytes
from calipers.bounds.propagation.interval import exact_nodes, transfer
from calipers.bounds.propagation.linear import LinearBounds, Propagation
from calipers.bounds.propagation.walks import unsettled
from calipers.bounds.relaxations import paired
from calipers.bounds.relaxations.maxima import Maxima
from calipers.core.intervals import IntervalBounds
from calipers.core.problem import Specification
from calipers.core.sets import InputSet
from calipers.graph import ops
from calipers.graph.graph import Graph, Node
from calipers.verify.branching.dual import Ascent, ascend, ascent_bytes
from calipers.verify.branching.subdomains import Root, Subdomains

# Told of rows over the last node bounded so far, entry plus minus entry minus, and of the ascent that bounds them.
Note = Callable[[Propagation, Tensor, Tensor, Ascent], None]


@dataclass(frozen=True)
class Tightening:
    """steps, rate: of the ascent for each side of each neuron.

    Five steps at a high rate bring most of what twenty at a low one do (benchmarks/splitting.py).
    """

    steps: int = 5
    rate: float = 1.0

    def walks(self, root: Root) -> int:
        """What a run costs, in walks from the output to the input of one subdomain."""
        start = root.propagation
        total = 0.0
        for position in _refinable(root):
            wanted = unsettled(start.graph, position, start.bounds[position])
            rows = 0 if wanted is None else 2 * int(wanted.sum())
            for view in (view for view in root.views if view.source == position):
                if view.position in start.differences:
                    rows += len(_pairs(view, start.bounds[position], start.differences[view.position])[0])
            before = sum(view.candidates * view.outputs for view in root.views if view.position < position)
            total += self.steps * rows * before / root.candidates
        return math.ceil(total)

    def run(self, base: LinearBounds, root: Root, budget: WorkBudget, note: Note | None = None) -> Propagation:
        """The propagation that `base` gave for one input set, with tighter bounds; all that time allows for.

        Bounds never get looser. base: chooses the planes from them. note: told what the bounds rest on.
        """
        start, graph = root.propagation, root.propagation.graph
        assert len(root.input_set) == 1
        work = _Work(self, root.input_set, budget, note)
        refinable = set(_refinable(root))
        bounds, relaxations, differences = start.bounds[:1], dict(start.relaxations), dict(start.differences)
        for position, node in enumerate(graph.nodes[1:], start=1):
            if position in differences and node.inputs[0] in refinable:
                end = node.inputs[0] + 1
                so_far = Propagation(graph, bounds[:end], relaxations, start.noise[:end], differences)
                differences[position] = work.difference(so_far, position)
            output = transfer(node.op, *(bounds[i] for i in node.inputs))
            if isinstance(node.op, ops.Nonlinear):
                # The noise of looser bounds is enough for tighter ones.
                so_far = Propagation(graph, bounds, relaxations, start.noise, differences)
                relaxations[position] = base.planes(so_far, position, output)
            here = output.intersect(start.bounds[position]).ordered()
            if position in refinable:
                here = work.refined(Propagation(graph, [*bounds, here], relaxations, start.noise, differences))
            bounds.append(here)
        return Propagation(graph, bounds, relaxations, start.noise, differences)


@dataclass(frozen=True, eq=False)
class _Work:
    """A run of a tightening."""

    settings: Tightening
    sets: InputSet
    budget: WorkBudget
    note: Note | None

    def refined(self, so_far: Propagation) -> IntervalBounds:
        """Bounds of the last node that is bounded so far."""
        position = len(so_far.bounds) - 1
        here = so_far.bounds[position]
        wanted = unsettled(so_far.graph, position, here)
        if wanted is None:
            return here
        neuron = wanted.flatten().nonzero()[:, 0]
        none = torch.full_like(neuron, -1)
        lower, upper = here.lower.flatten().clone(), here.upper.flatten().clone()
        found = self._ascend(so_far, torch.cat([neuron, none]), torch.cat([none, neuron]))
        lower[neuron] = torch.maximum(lower[neuron], found[: len(neuron)])
        upper[neuron] = torch.minimum(upper[neuron], -found[len(neuron) :])
        return IntervalBounds(lower.reshape(here.lower.shape), upper.reshape(here.lower.shape)).ordered()

    def difference(self, so_far: Propagation, position: int) -> Tensor:
        """Bounds of the differences between the pixels of a maxpool, whose input is the last node bounded so far."""
        view = Maxima.of(so_far.graph, position)
        assert view is not None
        difference = so_far.differences[position].clone()
        one, two, output = _pairs(view, so_far.bounds[-1], difference)
        found = self._ascend(so_far, view.entry[two, output], view.entry[one, output])
        difference[0, one, two, output] = torch.minimum(difference[0, one, two, output], -found)
        return difference

    def _ascend(self, so_far: Propagation, plus: Tensor, minus: Tensor) -> Tensor:
        """Lower bounds of entries `plus` minus entries `minus` of the last node bounded so far; -inf beyond the time.

        plus, minus: flat; -1 for none.
        """
        last = so_far.bounds[-1].lower
        outputs = last[0].numel()
        root = _cut(so_far, self.sets)
        lower = last.new_full(plus.shape, -torch.inf)
        size = ascent_bytes(root) + row_bytes(root.propagation.graph, len(so_far.bounds) - 1, windowed=False)
        try:
            for part in self.budget.chunks(len(plus), size):
                count = torch.arange(len(plus[part]), device=plus.device)
                C = last.new_zeros(1, len(count), outputs)
                for entry, sign in ((plus[part], 1.0), (minus[part], -1.0)):
                    C[0, count[entry >= 0], entry[entry >= 0]] = sign
                rows = replace(root, specification=Specification(C, last.new_zeros(1, len(count))))
                subdomains = Subdomains.of(rows, torch.zeros_like(count), count, [()] * len(count))
                ascent = ascend(subdomains, subdomains.start(), self.settings.steps, self.settings.rate, self.budget)
                lower[part] = ascent.walk.lower
                if self.note is not None:
                    self.note(so_far, plus[part], minus[part], ascent)
        except OutOfTimeError:
            return lower  # what is missing stays as it was
        return lower


def _pairs(view: Maxima, bounds: IntervalBounds, difference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels one and two, and output, of the differences that matter: both pixels can win."""
    low, high = view.spread(bounds.lower.flatten(1)), view.spread(bounds.upper.flatten(1))
    can = paired.winners(low, high, difference)[0, : view.pixels]
    apart = ~torch.eye(view.pixels, dtype=torch.bool, device=can.device).unsqueeze(2)
    one, two, output = (can.unsqueeze(1) & can.unsqueeze(0) & apart).nonzero().unbind(1)
    return one, two, output


def _refinable(root: Root) -> list[int]:
    """Nodes that an ascent can bound tighter than a walk: those with maxima before them."""
    graph = root.propagation.graph
    settled = exact_nodes(graph, root.input_set)
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
    noise = [*so_far.noise[: position + 1], so_far.noise[position].flatten(1)]
    return Root.of(Propagation(graph, bounds, relaxations, noise, differences), sets, nothing)
