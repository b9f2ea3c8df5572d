"""Linear bounds of the neurons before a nonlinearity, for those neurons whose bounds matter."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from calipers.bounds.backward import pull_back
from calipers.bounds.budget import MemoryBudget
from calipers.bounds.concretize import enclose
from calipers.bounds.cost import row_bytes
from calipers.bounds.relaxation import Relaxation
from calipers.bounds.start import identity_rows, select
from calipers.bounds.window import pixels
from calipers.core.intervals import IntervalBounds
from calipers.core.sets import InputSet
from calipers.graph import ops
from calipers.graph.graph import Graph


def unsettled(graph: Graph, position: int, cheap: IntervalBounds) -> Bool[Tensor, "batch *shape"] | None:
    """Which neurons of a node need better bounds than the cheap ones for the nonlinearities that follow; None: none."""
    users = [i for i, node in enumerate(graph.nodes) if position in node.inputs]
    if isinstance(graph.nodes[position].op, ops.Relu):
        return None
    wanted = torch.zeros_like(cheap.lower, dtype=torch.bool)
    for user in users:
        op = graph.nodes[user].op
        if isinstance(op, ops.MaxPool2d):
            wanted |= _contenders(op, cheap)
        elif isinstance(op, ops.Relu):
            pooled = any(isinstance(n.op, ops.MaxPool2d) and user in n.inputs for n in graph.nodes)
            # A pool compares active neurons by their bounds; elsewhere the bounds of a stable one do not matter.
            wanted |= (cheap.upper > 0) if pooled else (cheap.upper > 0) & (cheap.lower < 0)
    return wanted if bool(wanted.any()) else None


def refine(
    graph: Graph,
    position: int,
    wanted: Bool[Tensor, "batch *shape"],
    cheap: IntervalBounds,
    input_set: InputSet,
    relaxations: Mapping[int, Relaxation],
    budget: MemoryBudget,
) -> IntervalBounds:
    """Linear bounds for the wanted neurons, the cheap ones for all others."""
    node = graph.nodes[position]
    selection = select(wanted)
    lower, upper = cheap.lower.flatten(1).clone(), cheap.upper.flatten(1).clone()
    for chosen in selection.chunks(budget, row_bytes(graph, position, windowed=len(node.shape) == 3)):
        rows = identity_rows(node, chosen, 2, lower.dtype)
        low, high = enclose(input_set, pull_back(graph, position, rows, relaxations)[0])
        image = chosen.image[:, None]
        lower[image, chosen.neuron] = low
        upper[image, chosen.neuron] = high
    return IntervalBounds(lower.reshape(cheap.lower.shape), upper.reshape(cheap.upper.shape))


def _contenders(op: ops.MaxPool2d, bounds: IntervalBounds) -> Bool[Tensor, "batch channels h w"]:
    """Pixels that can be the maximum of some window."""
    upper, lower = pixels(op, bounds.upper), pixels(op, bounds.lower)
    best = lower.amax(1, keepdim=True)
    best = best if op.floor is None else best.clamp(min=op.floor)
    can = upper >= best
    height, width = bounds.lower.shape[-2:]
    top, left = op.padding
    padded = F.pad(torch.zeros_like(bounds.lower, dtype=torch.bool), (left, left, top, top))
    for pixel, (dy, dx) in enumerate(op.pixels):
        rows, columns = can.shape[-2:]
        ends = dy + op.stride[0] * (rows - 1) + 1, dx + op.stride[1] * (columns - 1) + 1
        padded[..., dy : ends[0] : op.stride[0], dx : ends[1] : op.stride[1]] |= can[:, pixel]
    return padded[..., top : top + height, left : left + width]
