"""Bounds on a batch of small boxes, and which input to halve: for branch and bound over few inputs."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.bounds.budget import WorkBudget
from calipers.bounds.propagation.backsubstitution import backsubstitute
from calipers.bounds.propagation.concretize import concretize
from calipers.bounds.propagation.forward import ForwardBounds
from calipers.bounds.propagation.linear import LinearBounds, Propagation
from calipers.bounds.propagation.rows import Rows
from calipers.bounds.propagation.start import specification_rows
from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.bounds.relaxations.window import pixels
from calipers.bounds.rounding import interval_rows, row_error
from calipers.core.intervals import IntervalBounds
from calipers.core.problem import Specification
from calipers.core.sets import Box
from calipers.graph import ops
from calipers.graph.graph import Graph


@dataclass(frozen=True, eq=False)
class BoxBounds:
    """What one walk says about every row on every box.

    lower: as in MarginBounds. lowest: where the walk's bound of the row is attained. looseness: how much of the
    distance between the planes each input is to blame for, weighted by what that distance costs the row. planes: of
    every nonlinearity, by its position in the graph that the method works on. known: intervals of the nodes before
    nonlinearities, likewise; they hold on parts of the boxes too.
    """

    lower: Float[Tensor, "batch rows"]
    lowest: Float[Tensor, "batch rows *shape"]
    looseness: Float[Tensor, "batch rows inputs"]
    planes: Mapping[int, Relaxation]
    known: Mapping[int, IntervalBounds]


def bound_boxes(
    method: LinearBounds,
    graph: Graph,
    boxes: Box,
    specification: Specification,
    budget: WorkBudget,
    known: Mapping[int, IntervalBounds] | None = None,
) -> BoxBounds:
    """Bound every row on every box, by the walk or by the output's intervals, whichever is better.

    known: intervals that hold on the boxes already.
    """
    propagation = method.propagate(graph, boxes, budget, known)
    graph = propagation.graph
    share: dict[int, Tensor] = {}

    def visit(position: int, rows: Rows) -> Rows:
        if position in propagation.relaxations:
            share[position] = rows.coefficient.flatten(2).abs()
        return rows

    rows = specification_rows(specification, propagation.bounds[graph.output])
    noise = propagation.noise[graph.output]
    at_input = backsubstitute(graph, graph.output, rows, propagation.relaxations, noise, visit=visit)[0]
    outputs = propagation.bounds[graph.output]
    interval = interval_rows(specification, outputs) - row_error(specification.C, specification.d, outputs)
    return BoxBounds(
        torch.maximum(concretize(boxes, at_input)[0], interval),
        torch.where(at_input.coefficient > 0, boxes.lower.unsqueeze(1), boxes.upper.unsqueeze(1)),
        _looseness(propagation, boxes, share),
        propagation.relaxations,
        {graph.nodes[i].inputs[0]: propagation.bounds[graph.nodes[i].inputs[0]] for i in propagation.relaxations},
    )


def bound_boxes_forward(
    method: ForwardBounds, graph: Graph, boxes: Box, specification: Specification, budget: WorkBudget
) -> BoxBounds:
    """As `bound_boxes`, by one pass forward: all planes share the blame, so inputs have that of their width."""
    found = method.margins(graph, boxes, specification, budget)
    rows = specification.d.shape[1]
    width = (boxes.upper - boxes.lower).flatten(1)
    return BoxBounds(
        found.lower,
        boxes.center.unsqueeze(1).expand(-1, rows, *boxes.lower.shape[1:]),
        width.unsqueeze(1).expand(-1, rows, -1),
        {},
        {},
    )


def _looseness(propagation: Propagation, boxes: Box, share: Mapping[int, Tensor]) -> Tensor:
    """The distance between each nonlinearity's planes at the middle of its bounds, shared out among the inputs.

    An input's part is that of its tangent: how far the nonlinearity's own input moves when this one crosses its box.
    """
    graph = propagation.graph
    rows = next(iter(share.values())).shape[1] if share else 1
    inputs = boxes.lower[0].numel()
    found = boxes.lower.new_zeros(len(boxes), rows, inputs)
    for position, tangent in _tangents(propagation, boxes).items():
        if position not in share:
            continue
        node, planes = graph.nodes[position], propagation.relaxations[position]
        bounds = propagation.bounds[node.inputs[0]]
        above = _apply(node.op, planes.upper_slope, bounds.middle) + planes.upper_bias
        below = _apply(node.op, planes.lower_slope, bounds.middle) + planes.lower_bias
        distance = (above - below).clamp_min(0).flatten(1)
        moved = _reach(node.op, tangent).unflatten(0, (len(boxes), inputs)).flatten(2)
        part = moved / moved.sum(1, keepdim=True).clamp_min(torch.finfo(moved.dtype).tiny)
        found += torch.einsum("brn,bn,bin->bri", share[position], distance, part)
    return found


def _tangents(propagation: Propagation, boxes: Box) -> dict[int, Float[Tensor, "batch_inputs *shape"]]:
    """For every nonlinearity, how its input moves along each input's side of the box, by the planes above."""
    width = boxes.upper - boxes.lower
    unit = torch.eye(width[0].numel(), dtype=width.dtype, device=width.device).unflatten(1, width.shape[1:])
    values = [(width.unsqueeze(1) * unit).flatten(0, 1)]
    image = torch.arange(len(width), device=width.device).repeat_interleave(len(unit))
    found = {}
    for position, node in enumerate(propagation.graph.nodes[1:], start=1):
        moved = [values[i] for i in node.inputs]
        if position in propagation.relaxations:
            found[position] = moved[0]
            values.append(_apply(node.op, propagation.relaxations[position].upper_slope[image], moved[0]))
        else:
            still = node.op.evaluate(*(torch.zeros_like(m[:1]) for m in moved))
            values.append(node.op.evaluate(*moved) - still)
    return found


def _apply(op: ops.Op, slope: Tensor, values: Tensor) -> Tensor:
    """A plane's linear part."""
    return (slope * _laid(op, values)).sum(1) if isinstance(op, ops.MaxPool2d) else slope * values


def _reach(op: ops.Op, values: Tensor) -> Tensor:
    """The largest movement among the entries that an output sees."""
    return _laid(op, values).abs().amax(1) if isinstance(op, ops.MaxPool2d) else values.abs()


def _laid(op: ops.MaxPool2d, values: Tensor) -> Tensor:
    laid = pixels(op, values)
    return torch.where(torch.isfinite(laid), laid, 0.0)
