"""What bounds cost in multiplications: choices depend on counts of work and never on a clock."""

import math

from calipers.bounds.propagation.interval import transfer
from calipers.bounds.propagation.linear import Propagation
from calipers.bounds.propagation.walks import unsettled
from calipers.graph import ops
from calipers.graph.graph import Graph


def work(op: ops.Op, shape: tuple[int, ...]) -> int:
    """Multiplications that an operation takes for one sample, given the shape of its output."""
    entries = math.prod(shape)
    match op:
        case ops.Linear() | ops.ExactRows() | ops.Conv2d() | ops.ConvTranspose2d():
            return entries * ops.terms(op)
        case ops.MaxPool2d():
            return entries * len(op.pixels)
        case _:
            return entries


def pass_work(graph: Graph, inputs: int) -> int:
    """Multiplications that two functions of so many inputs take through a network."""
    return 2 * inputs * sum(work(node.op, node.shape) for node in graph.nodes)


def walk_work(found: Propagation) -> int:
    """Multiplications of the walks behind a propagation: from every neuron that intervals leave open."""
    graph = found.graph
    before = 0
    total = 0
    for position, node in enumerate(graph.nodes[1:], start=1):
        before += work(node.op, node.shape)
        wanted = unsettled(graph, position, transfer(node.op, *(found.bounds[i] for i in node.inputs)))
        if wanted is not None:
            total += int(wanted.sum()) * before
    return total + before
