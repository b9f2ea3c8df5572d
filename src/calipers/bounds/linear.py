"""Linear bounds layer by layer: bounds of each node before a nonlinearity feed the relaxations of the next walk."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from calipers.bounds.backward import grow, pull_back
from calipers.bounds.budget import MemoryBudget
from calipers.bounds.capm import relax_maxpool, relax_relu
from calipers.bounds.concretize import concretize, magnitude
from calipers.bounds.interval import exact_nodes, transfer
from calipers.bounds.method import MarginBounds
from calipers.bounds.relaxation import Relaxation
from calipers.bounds.start import cut, identity_rows, select, specification_rows
from calipers.core.intervals import IntervalBounds
from calipers.core.norms import Norm
from calipers.core.problem import Specification
from calipers.core.sets import Box, InputSet, LpBall
from calipers.graph import ops
from calipers.graph.graph import Graph

_NONLINEAR = ops.Relu | ops.MaxPool2d
# Arrays of the size of the coefficients that one step of the walk holds at a time.
_ARRAYS = 4
# Rounding errors of sums of this kind grow like the root of their length; 64 ulps of the sum of magnitudes is ample.
_ULPS = 64


@dataclass(frozen=True)
class LinearBounds:
    """Bounds by one backward walk per node, with relaxations chosen from the node's interval bounds.

    relu, maxpool: choose the planes. Published as CAPM with `calipers.bounds.capm`.
    """

    name: str
    relu: Callable[[IntervalBounds], Relaxation]
    maxpool: Callable[[ops.MaxPool2d, IntervalBounds], Relaxation]

    def margins(
        self, graph: Graph, input_set: InputSet, specification: Specification, budget: MemoryBudget
    ) -> MarginBounds:
        relaxations = self.relaxations(graph, input_set, budget)
        rows = specification_rows(specification.C, specification.d)
        box = input_set.box()
        lower, slack = [], []
        for part in cut(rows, budget.chunks(len(specification), row_bytes(graph, graph.output, rows.coefficient))):
            at_input = pull_back(graph, graph.output, part, relaxations)[0]
            lower.append(concretize(input_set, at_input)[0])
            slack.append(_ULPS * torch.finfo(box.lower.dtype).eps * magnitude(box, at_input))
        return MarginBounds(torch.cat(lower), torch.cat(slack))

    def relaxations(self, graph: Graph, input_set: InputSet, budget: MemoryBudget) -> dict[int, Relaxation]:
        """The planes of every nonlinearity, by node."""
        box = input_set.box()
        bounds = [IntervalBounds(box.lower, box.upper)]
        relaxations: dict[int, Relaxation] = {}
        settled = exact_nodes(graph) if _is_box(input_set) else {0}
        for position, node in enumerate(graph.nodes[1:], start=1):
            if isinstance(node.op, ops.Relu):
                relaxations[position] = self.relu(bounds[node.inputs[0]])
            elif isinstance(node.op, ops.MaxPool2d):
                relaxations[position] = self.maxpool(node.op, bounds[node.inputs[0]])
            bounds.append(transfer(node.op, *(bounds[i] for i in node.inputs)))
            if position not in settled:
                wanted = _wanted(graph, position, bounds[position])
                if wanted is not None:
                    bounds[position] = _refine(
                        graph, position, wanted, bounds[position], input_set, relaxations, budget
                    )
        return relaxations


CAPM = LinearBounds("capm", relax_relu, relax_maxpool)


def _wanted(graph: Graph, position: int, cheap: IntervalBounds) -> Bool[Tensor, "batch *shape"] | None:
    """Which neurons' bounds a following nonlinearity depends on, beyond what cheap bounds settle."""
    users = [i for i, node in enumerate(graph.nodes) if position in node.inputs]
    if isinstance(graph.nodes[position].op, ops.Relu) or not users:
        return None
    wanted = torch.zeros_like(cheap.lower, dtype=torch.bool)
    for user in users:
        op = graph.nodes[user].op
        if isinstance(op, ops.MaxPool2d):
            wanted |= torch.ones_like(wanted)
        elif isinstance(op, ops.Relu):
            pooled = any(isinstance(n.op, ops.MaxPool2d) and user in n.inputs for n in graph.nodes)
            # A pool compares active neurons by their bounds; elsewhere the bounds of a stable one do not matter.
            wanted |= (cheap.upper > 0) if pooled else (cheap.upper > 0) & (cheap.lower < 0)
    return wanted if bool(wanted.any()) else None


def _refine(
    graph: Graph,
    position: int,
    wanted: Bool[Tensor, "batch *shape"],
    cheap: IntervalBounds,
    input_set: InputSet,
    relaxations: dict[int, Relaxation],
    budget: MemoryBudget,
) -> IntervalBounds:
    """Replace the cheap bounds of wanted neurons by linear bounds where these are tighter."""
    node = graph.nodes[position]
    selection = select(wanted)
    lower, upper = cheap.lower.flatten(1).clone(), cheap.upper.flatten(1).clone()
    probe = identity_rows(node, selection[:1], 2, lower.dtype).coefficient
    for part in budget.chunks(len(selection), row_bytes(graph, position, probe)):
        chosen = selection[part]
        rows = identity_rows(node, chosen, 2, lower.dtype)
        low, high = concretize(input_set, pull_back(graph, position, rows, relaxations)[0])
        image = chosen.image[:, None]
        lower[image, chosen.neuron] = low
        upper[image, chosen.neuron] = high
    return IntervalBounds(lower.reshape(cheap.lower.shape), upper.reshape(cheap.upper.shape))


def row_bytes(graph: Graph, start: int, coefficient: Tensor) -> int:
    """Bytes that a group of rows takes at the widest place of its walk from node `start`."""
    widest = coefficient[0, 0].numel()
    windows = {start: tuple(coefficient.shape[-2:]) if coefficient.dim() == 5 else None}
    for position in range(start, 0, -1):
        if position not in windows:
            continue
        node, window = graph.nodes[position], windows[position]
        if window is not None and isinstance(node.op, ops.Conv2d | ops.MaxPool2d):
            window = grow(node.op, window)  # type: ignore[arg-type]
        for source in node.inputs:
            shape = graph.nodes[source].shape
            full = int(torch.Size(shape).numel())
            if len(shape) != 3 or window is None or window[0] * window[1] >= shape[1] * shape[2]:
                windows[source] = None
                widest = max(widest, full)
            else:
                windows[source] = window
                widest = max(widest, shape[0] * window[0] * window[1])
    return widest * coefficient.shape[1] * coefficient.element_size() * _ARRAYS


def _is_box(input_set: InputSet) -> bool:
    return isinstance(input_set, Box) or (isinstance(input_set, LpBall) and input_set.norm is Norm.LINF)
