"""Linear bounds of the neurons before a nonlinearity, for those neurons whose bounds matter."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import singledispatch

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from calipers.bounds.backward import pull_back
from calipers.bounds.budget import WorkBudget
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


def refine(
    graph: Graph,
    position: int,
    wanted: Bool[Tensor, "batch *shape"],
    cheap: IntervalBounds,
    input_set: InputSet,
    relaxations: Mapping[int, Relaxation],
    budget: WorkBudget,
) -> IntervalBounds:
    """Linear bounds for the wanted neurons, the cheap ones for all others."""
    node = graph.nodes[position]
    feature_map = len(node.shape) == 3
    # Rows of other shapes start over the flat value.
    flat = node if feature_map else replace(node, shape=(math.prod(node.shape),))
    selection = select(wanted if feature_map else wanted.flatten(1))
    lower, upper = cheap.lower.flatten(1).clone(), cheap.upper.flatten(1).clone()
    for chosen in selection.chunks(budget, row_bytes(graph, position, windowed=feature_map)):
        rows = identity_rows(flat, chosen, 2, lower.dtype)
        if not feature_map:
            rows = replace(rows, coefficient=rows.coefficient.unflatten(2, node.shape), shape=node.shape)
        low, high = enclose(input_set, pull_back(graph, position, rows, relaxations)[0])
        image = chosen.image[:, None]
        lower[image, chosen.neuron] = low
        upper[image, chosen.neuron] = high
    return IntervalBounds(lower.reshape(cheap.lower.shape), upper.reshape(cheap.upper.shape))


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
