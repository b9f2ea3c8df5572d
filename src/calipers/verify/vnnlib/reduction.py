"""A property as a specification: its clauses become the last layers of the network, its boxes the input sets."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64

from calipers.core.errors import InputError
from calipers.core.problem import Alternatives, Problem
from calipers.core.sets import Box
from calipers.graph.alternatives import every_clause, with_alternatives
from calipers.graph.graph import Graph
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
    problem = Problem("", tuple(range(len(cases))), box, every_clause(len(clauses), len(cases)))
    return Reduction(with_alternatives(graph, alternatives(clauses)), problem, cases)


def _rounded(values: Float64[np.ndarray, "cases inputs"], towards: float) -> Float32[np.ndarray, "cases inputs"]:
    """In single precision, never short of the value on the side given."""
    near = values.astype(np.float32)
    short = near > values if towards < 0 else near < values
    return np.where(short, np.nextafter(near, np.float32(towards)), near)


def alternatives(clauses: tuple[Clause, ...]) -> Alternatives:
    """What has to hold for a case to be safe: in every clause some row's left side exceeds its bound."""
    of = torch.from_numpy
    return Alternatives.of([(of(clause.outputs), of(clause.inputs), of(-clause.bound)) for clause in clauses])
