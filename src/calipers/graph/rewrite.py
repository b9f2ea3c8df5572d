"""Rewrites of a graph that keep its function."""

from dataclasses import replace

import torch

from calipers.graph import compose, ops
from calipers.graph.assembly import Assembly, Position
from calipers.graph.graph import Graph, Node


def fuse_windows(graph: Graph) -> Graph:
    """Let every maxpool that alone follows a ReLU take over the ReLU as its floor: max(0, x_1, ..., x_K).

    One relaxation of the fused window, on bounds before the ReLU, can be tighter than two one after the other.
    """
    users: dict[int, list[int]] = {}
    for position, node in enumerate(graph.nodes):
        for source in node.inputs:
            users.setdefault(source, []).append(position)
    fused = {
        position
        for position, node in enumerate(graph.nodes)
        if isinstance(node.op, ops.Relu)
        and users.get(position)
        and all(isinstance(graph.nodes[user].op, ops.MaxPool2d) for user in users[position])
    }
    place: dict[int, int] = {}
    nodes: list[Node] = []
    for position, node in enumerate(graph.nodes):
        if position in fused:
            place[position] = place[node.inputs[0]]
            continue
        op = node.op
        if isinstance(op, ops.MaxPool2d) and node.inputs[0] in fused:
            op = replace(op, floor=max(0.0, op.floor or 0.0))
        nodes.append(replace(node, op=op, inputs=tuple(place[i] for i in node.inputs)))
        place[position] = len(nodes) - 1
    return replace(graph, nodes=tuple(nodes))


def with_maxima(graph: Graph) -> Graph:
    """Every function with bends as maxima of a few values, which searches split, programs encode and checkers know.

    |x| and limits are exact in floating point too. slope * x + (1 - slope) * relu(x) is LeakyReLU in real arithmetic;
    what its two products can round away covers what the original's one does.
    """
    if not any(isinstance(node.op, ops.Bent) for node in graph.nodes):
        return graph
    asm = Assembly(graph.nodes[0].name, graph.input_shape)
    place: dict[int, Position] = {0: 0}
    for position, node in enumerate(graph.nodes[1:], start=1):
        x = [place[i] for i in node.inputs]
        match node.op:
            case ops.LeakyRelu() as op:
                place[position] = _bent(asm, node.name, x[0], op.slope)
            case ops.Absolute():
                place[position] = _bent(asm, node.name, x[0], torch.tensor(-1.0))
            case ops.Clamp() as op:
                place[position] = _limited(asm, node.name, x[0], op)
            case op:
                place[position] = asm.keep(replace(node, inputs=tuple(x)))
    return replace(asm.graph(place[graph.output]), tail=graph.tail)


def _bent(asm: Assembly, name: str, x: Position, slope: torch.Tensor) -> Position:
    zero = torch.zeros_like(slope)
    above = asm.add(name, ops.Scale(1 - slope, zero), asm.add(name, ops.Relu(), x))
    return compose.add(asm, name, asm.add(name, ops.Scale(slope, zero), x), above)


def _limited(asm: Assembly, name: str, x: Position, op: ops.Clamp) -> Position:
    if not bool(torch.isinf(op.low).all()):
        x = _at_least(asm, name, x, op.low)
    if not bool(torch.isinf(op.high).all()):
        x = compose.negate(asm, name, _at_least(asm, name, compose.negate(asm, name, x), -op.high))
    return x


def _at_least(asm: Assembly, name: str, x: Position, low: torch.Tensor) -> Position:
    if not bool(low.any()):
        return asm.add(name, ops.Relu(), x)
    # Where a side is open no entry gets there: the smallest number stands for minus infinity.
    low = low.clamp(min=torch.finfo(low.dtype).min)
    constant = asm.add(name, ops.Scale(torch.zeros_like(low), low), x)
    return compose.maximum(asm, name, x, constant)
