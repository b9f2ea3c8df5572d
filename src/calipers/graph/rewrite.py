"""Rewrites of a graph that keep its function."""

from dataclasses import replace

from calipers.graph import ops
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
