"""Alternatives as the last layers of a network: one output per clause, positive iff the clause holds.

This is property reduction (Shriver et al., ICSE 2021), for proofs as well as for attacks.
"""

import torch

from calipers.core.problem import Alternatives, Specification
from calipers.graph.assembly import Assembly
from calipers.graph.graph import Graph
from calipers.graph.ops import Concat, ExactRows, MaxPool2d, Reshape


def with_alternatives(graph: Graph, asked: Alternatives) -> Graph:
    """The network with one output per clause: the largest of its rows.

    Raises InputError for rows that ask more of a softmax at the end than its order.
    """
    clauses, rows = asked.d.shape
    C, D, d = asked.C.flatten(0, 1), asked.D.flatten(0, 1), asked.d.flatten()
    graph.require_order(C.unsqueeze(0), d.unsqueeze(0))
    asm = Assembly.after(graph)
    last = _flat(asm, graph.output)
    weight = C
    if bool(D.any()):
        last = asm.add("input and output", Concat(0), _flat(asm, 0), last)
        weight = torch.cat([D, C], 1)
    last = asm.add("rows", ExactRows(weight, d, graph.tail is not None), last)
    if rows > 1:
        last = asm.add("by clause", Reshape((clauses, 1, rows)), last)
        last = asm.add("largest row", MaxPool2d((1, rows), (1, rows)), last)
        last = asm.add("clauses", Reshape((clauses,)), last)
    return asm.graph(last)


def every_clause(clauses: int, batch: int) -> Specification:
    """That every output of such a network is positive, for a batch of input sets."""
    return Specification(torch.eye(clauses).expand(batch, -1, -1), torch.zeros(batch, clauses))


def _flat(asm: Assembly, position: int) -> int:
    size = int(torch.Size(asm.shape(position)).numel())
    return position if len(asm.shape(position)) == 1 else asm.add("flat", Reshape((size,)), position)
