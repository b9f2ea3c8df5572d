"""Graphs in the making: what the readers of torch and ONNX models share."""

from collections.abc import Callable

import torch
from torch import Tensor

from calipers.graph import ops
from calipers.graph.graph import Graph, Node

# Positions are indices of nodes.
Position = int


class Refusal(Exception):  # noqa: N818  # not an error by itself: a reader turns it into one that names the layer
    """An operation has no counterpart in the graph; the text says which setting is at fault."""


class Assembly:
    """Collects nodes; thrown away once the graph is made."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.nodes = [Node(name, ops.Input(), (), shape)]
        self.tail: ops.Softmax | None = None

    @classmethod
    def after(cls, graph: Graph) -> "Assembly":
        """Goes on from the nodes of a graph; a softmax set apart stays away."""
        assembly = cls(graph.nodes[0].name, graph.input_shape)
        assembly.nodes = list(graph.nodes)
        return assembly

    def shape(self, position: Position) -> tuple[int, ...]:
        """The shape of a node's value, without the batch dimension."""
        return self.nodes[position].shape

    def add(self, name: str, op: ops.Op, *inputs: Position) -> Position:
        """Append an operation on earlier nodes. Raises Refusal after a softmax."""
        if self.tail is not None:
            raise Refusal("after a softmax, which may only be the last operation,")
        dtypes = [value.dtype for value in ops.tensors(op).values() if value.is_floating_point()]
        dtype = dtypes[0] if dtypes else torch.get_default_dtype()
        with torch.no_grad():
            probe = op.evaluate(*(torch.zeros(1, *self.shape(i), dtype=dtype) for i in inputs))
        self.nodes.append(Node(name, op, inputs, tuple(probe.shape[1:])))
        return len(self.nodes) - 1

    def keep(self, node: Node) -> Position:
        """Append a node of another graph, whose inputs are positions here."""
        self.nodes.append(node)
        return len(self.nodes) - 1

    def end(self, position: Position, tail: ops.Softmax, dim: int) -> Position:
        """Set a softmax over dimension `dim` (the batch is 0) apart: nothing may follow."""
        rank = len(self.shape(position)) + 1
        if rank != 2 or dim % rank != 1:
            raise Refusal(f"over dimension {dim} of {rank}")
        if self.tail is not None or position != len(self.nodes) - 1:
            raise Refusal("that is not the last operation")
        self.tail = tail
        return position

    def rearrange(self, name: str, position: Position, move: Callable[[Tensor], Tensor], batch: int = 2) -> Position:
        """What `move` does to a value, where it only moves, drops or repeats entries within every sample.

        `move` is carried out once on the numbers of the entries of `batch` samples. Raises Refusal if samples mix.
        """
        shape = self.shape(position)
        size = int(torch.Size(shape).numel())
        entries = torch.arange(batch * size).reshape(batch, *shape)
        moved = move(entries)
        if moved.dim() == 0 or len(moved) != batch:
            raise Refusal("that mixes or drops samples of the batch")
        index = moved[0].contiguous()
        offset = size * torch.arange(batch).reshape(-1, *([1] * index.dim()))
        if not torch.equal(moved, index + offset) or bool(((index < 0) | (index >= size)).any()):
            raise Refusal("that mixes samples of the batch")
        if torch.equal(index.flatten(), entries[0].flatten()):
            return (
                position if tuple(index.shape) == shape else self.add(name, ops.Reshape(tuple(index.shape)), position)
            )
        crop = _crop(entries[0], index)
        return self.add(name, ops.Gather(index) if crop is None else crop, position)

    def graph(self, output: Position) -> Graph:
        """The finished graph: the nodes that the output depends on."""
        needed = {0, output}
        for position in range(output, 0, -1):
            if position in needed:
                needed.update(self.nodes[position].inputs)
        kept = sorted(needed)
        place = {old: new for new, old in enumerate(kept)}
        nodes = (_with_a_dimension(self.nodes[old]) for old in kept)
        return Graph(tuple(Node(n.name, n.op, tuple(place[i] for i in n.inputs), n.shape) for n in nodes), self.tail)


def _with_a_dimension(node: Node) -> Node:
    """A value that is a single number as a vector of one entry: bounds keep entries in dimensions."""
    if node.shape:
        return node
    op = node.op
    match op:
        case ops.Reshape():
            op = ops.Reshape((1,))
        case ops.Gather():
            op = ops.Gather(op.index.reshape(1))
        case _:
            pass  # functions of single entries, and sums
    return Node(node.name, op, node.inputs, (1,))


def _crop(entries: Tensor, index: Tensor) -> ops.Pad | None:
    """The index as a block of the entries, if it is one: bounds keep their windows through it."""
    if index.dim() != entries.dim() or not index.numel():
        return None
    first = torch.unravel_index(index.flatten()[0], entries.shape)
    start = tuple(int(i) for i in first)
    block = entries[tuple(slice(s, s + n) for s, n in zip(start, index.shape, strict=True))]
    if not torch.equal(block, index):
        return None
    after = tuple(s + n - size for s, n, size in zip(start, index.shape, entries.shape, strict=True))
    return ops.Pad(tuple(-s for s in start), after)
