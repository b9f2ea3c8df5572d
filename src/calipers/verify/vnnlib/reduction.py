"""A property as a specification: its clauses become the last layers of the network, its boxes the input sets.

This is property reduction (Shriver et al., ICSE 2021), for proofs as well as for attacks.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from calipers.core.errors import InputError
from calipers.core.problem import Problem, Specification
from calipers.core.sets import Box
from calipers.graph.assembly import Assembly
from calipers.graph.graph import Graph
from calipers.graph.ops import Concat, MaxPool2d, Question, Reshape
from calipers.verify.vnnlib.property import Case, Clause, Property


@dataclass(frozen=True, eq=False)
class Reduction:
    """Boxes with the same clauses: safe where every output of the graph is positive.

    Output k is the largest of `inputs x + outputs y - bound` over the rows of clause k. The boxes of the problem are
    rounded outwards; `cases` are as written.
    """

    graph: Graph
    problem: Problem
    cases: tuple[Case, ...]


def reduce_property(graph: Graph, asked: Property) -> list[Reduction]:
    """What a property of a network comes to, one for each set of clauses.

    Raises InputError if it belongs to another network.
    """
    require_fit(graph, asked)
    groups: dict[tuple[bytes, ...], list[Case]] = {}
    for case in asked.cases:
        groups.setdefault(tuple(clause.key for clause in case.clauses), []).append(case)
    return [_reduction(graph, tuple(cases)) for cases in groups.values()]


def require_fit(graph: Graph, asked: Property) -> None:
    """Raise InputError if a property belongs to another network."""
    sizes = (int(torch.Size(graph.input_shape).numel()), int(torch.Size(graph.nodes[-1].shape).numel()))
    if sizes != (asked.inputs, asked.outputs):
        raise InputError(
            f"property: speaks of {asked.inputs} inputs and {asked.outputs} outputs, the network has {sizes[0]} and "
            f"{sizes[1]}"
        )


def boxes(graph: Graph, cases: tuple[Case, ...]) -> Box:
    """The boxes of cases in single precision, rounded outwards."""
    lower = _rounded(np.stack([case.lower for case in cases]), -np.inf)
    upper = _rounded(np.stack([case.upper for case in cases]), np.inf)
    return Box(*(torch.from_numpy(side).reshape(-1, *graph.input_shape) for side in (lower, upper)))


def _reduction(graph: Graph, cases: tuple[Case, ...]) -> Reduction:
    clauses = cases[0].clauses
    box = boxes(graph, cases)
    identity = torch.eye(len(clauses)).expand(len(cases), -1, -1)
    specification = Specification(identity, torch.zeros(len(cases), len(clauses)))
    problem = Problem("", tuple(range(len(cases))), box, specification)
    return Reduction(with_clauses(graph, clauses), problem, cases)


def _rounded(values: Float64[np.ndarray, "cases inputs"], towards: float) -> Float32[np.ndarray, "cases inputs"]:
    """In single precision, never short of the value on the side given."""
    near = values.astype(np.float32)
    short = near > values if towards < 0 else near < values
    return np.where(short, np.nextafter(near, np.float32(towards)), near)


def with_clauses(graph: Graph, clauses: tuple[Clause, ...]) -> Graph:
    """The network with one output per clause: the largest of its rows' left sides minus their bounds."""
    rows = max(len(clause.bound) for clause in clauses)

    def stacked(arrays: list[np.ndarray]) -> Tensor:
        # A row repeated changes no maximum.
        padded = [np.concatenate([a, np.repeat(a[:1], rows - len(a), axis=0)]) for a in arrays]
        return torch.from_numpy(np.concatenate(padded))

    inputs, outputs = stacked([c.inputs for c in clauses]), stacked([c.outputs for c in clauses])
    bound = stacked([c.bound for c in clauses])
    graph.require_order(outputs.unsqueeze(0), -bound.unsqueeze(0))
    asm = Assembly.after(graph)
    last = _flat(asm, graph.output)
    weight = outputs
    if bool(inputs.any()):
        last = asm.add("input and output", Concat(0), _flat(asm, 0), last)
        weight = torch.cat([inputs, outputs], 1)
    last = asm.add("rows", Question(weight, -bound, graph.tail is not None), last)
    if rows > 1:
        last = asm.add("by clause", Reshape((len(clauses), 1, rows)), last)
        last = asm.add("largest row", MaxPool2d((1, rows), (1, rows)), last)
        last = asm.add("clauses", Reshape((len(clauses),)), last)
    return asm.graph(last)


def _flat(asm: Assembly, position: int) -> int:
    size = int(torch.Size(asm.shape(position)).numel())
    return position if len(asm.shape(position)) == 1 else asm.add("flat", Reshape((size,)), position)
