"""What a walk or a pass costs in memory, worked out from shapes before it is made."""

import math
from collections.abc import Set

from calipers.bounds.propagation.backsubstitution import grow
from calipers.graph import ops
from calipers.graph.graph import Graph

# Arrays of the size of the coefficients that one step of the walk holds at a time.
_ARRAYS = 4

# The same for a step that pushes enclosures forward, beside those that are kept.
_BESIDE = 4

# Operations through which windows of rows stay as they are.
_KEEPING = ops.Elementwise | ops.PerEntry | ops.Add | ops.Pad


def row_bytes(graph: Graph, start: int, *, windowed: bool) -> int:
    """Bytes that a row in float32 takes at the widest place of its walk from node `start`.

    windowed: it starts at one place of a feature map, else over the whole value.
    """
    widest = math.prod(graph.nodes[start].shape[:1] if windowed else graph.nodes[start].shape)
    windows: dict[int, tuple[int, int] | None] = {start: (1, 1) if windowed else None}
    for position in range(start, 0, -1):
        if position not in windows:
            continue
        node, window = graph.nodes[position], windows[position]
        if window is not None and isinstance(node.op, ops.Conv2d | ops.MaxPool2d):
            window = grow(node.op, window)
        elif not isinstance(node.op, _KEEPING) and not (isinstance(node.op, ops.Concat) and node.op.dim == 0):
            window = None
        for source in node.inputs:
            shape = graph.nodes[source].shape
            if len(shape) != 3 or window is None or window[0] * window[1] >= shape[1] * shape[2]:
                windows[source] = None
                widest = max(widest, math.prod(shape))
            else:
                windows[source] = window
                widest = max(widest, shape[0] * window[0] * window[1])
    return widest * 4 * _ARRAYS


def enclosure_bytes(graph: Graph, inputs: int, element_size: int) -> int:
    """Bytes that one set with so many free inputs takes at the widest place of a pass forward."""
    sizes = [math.prod(node.shape) for node in graph.nodes]
    last = last_uses(graph, {graph.output})
    most = 0
    for position, node in enumerate(graph.nodes):
        kept = sum(size for i, size in enumerate(sizes[: position + 1]) if last.get(i, -1) >= position)
        largest = max(sizes[i] for i in (*node.inputs, position))
        most = max(most, 2 * kept + _BESIDE * largest)
    return most * inputs * element_size


def last_uses(graph: Graph, wanted: Set[int]) -> dict[int, int]:
    """The last node that needs each node on the way to the wanted ones; these are needed to the end."""
    last = dict.fromkeys(wanted, len(graph.nodes))
    for position in range(len(graph.nodes) - 1, 0, -1):
        if position in last:
            for source in graph.nodes[position].inputs:
                last.setdefault(source, position)
    return last
