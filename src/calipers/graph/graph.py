"""The intermediate representation: a list of nodes in topological order, and its reference evaluator."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from calipers.core.errors import InputError
from calipers.graph import ops
from calipers.graph.ops import Input, Op, Softmax


@dataclass(frozen=True, eq=False)
class Node:
    """One operation in its place. name: from the source model. inputs: positions of earlier nodes."""

    name: str
    op: Op
    inputs: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order; the first is the input, the last the output.

    tail: a softmax at the end of the model, set apart. The graph computes the logits before it, in the same order, and
    bounds are bounds of logits; `require_order` refuses what only the softmax's values can answer.
    """

    nodes: tuple[Node, ...]
    tail: Softmax | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.nodes[0].shape

    @property
    def output(self) -> int:
        return len(self.nodes) - 1

    @cached_property
    def device(self) -> torch.device:
        """Where its constants are; the CPU if it has none."""
        constants = (value for node in self.nodes for value in ops.tensors(node.op).values())
        return next((value.device for value in constants), torch.device("cpu"))

    def values(self, x: Tensor) -> list[Tensor]:
        """The value of every node at a batch of inputs."""
        if tuple(x.shape[1:]) != self.input_shape:
            raise InputError(f"graph: inputs have shape {tuple(x.shape[1:])}, the network takes {self.input_shape}")
        values: list[Tensor] = []
        for node in self.nodes:
            operands = [x] if isinstance(node.op, Input) else [values[i] for i in node.inputs]
            values.append(node.op.evaluate(*operands))
        return values

    def evaluate(self, x: Tensor) -> Tensor:
        """The network's output, before a softmax at its end, at a batch of inputs."""
        return self.values(x)[-1]

    def outputs(self, x: Tensor) -> Tensor:
        """What the original model returns at a batch of inputs."""
        logits = self.evaluate(x)
        return logits if self.tail is None else self.tail.evaluate(logits)

    def separates(self, position: int) -> bool:
        """Whether all that the output takes from the input goes through this one node."""
        return not any(i < position for node in self.nodes[position + 1 :] for i in node.inputs)

    def cut(self, position: int) -> "tuple[Graph, Graph]":
        """The graphs up to a node and from it on, which compose to this one in every bit.

        The first computes the node, the second takes its value as input. Raises InputError where the network passes by
        the node, as a skip connection does.
        """
        if not 0 <= position < len(self.nodes):
            raise InputError(f"graph: has no node {position}; accepted: 0 to {self.output}")
        if not self.separates(position):
            by = next(n for n in self.nodes[position + 1 :] if any(i < position for i in n.inputs))
            raise InputError(
                f"graph: node {position} ({self.nodes[position].name}) is passed by on the way to {by.name}; accepted: "
                "a node that everything goes through"
            )
        here = self.nodes[position]
        rest = (replace(node, inputs=tuple(i - position for i in node.inputs)) for node in self.nodes[position + 1 :])
        tail = Graph((Node(here.name, Input(), (), here.shape), *rest), self.tail)
        return Graph(self.nodes[: position + 1]), tail

    @property
    def note(self) -> str:
        """What a reader of bounds has to know; empty if nothing."""
        if self.tail is None:
            return ""
        name = "log-softmax" if self.tail.log else "softmax"
        return f"the {name} at the end is left out: the order of classes is the same, margins are differences of logits"

    def require_order(self, C: Float[Tensor, "batch rows classes"], d: Float[Tensor, "batch rows"]) -> None:
        """Raise InputError if rows C f + d > 0 ask more of a softmax's values than their order.

        A row may be a (f_i - f_j); after a log-softmax any row whose coefficients add up to zero, as its differences
        are those of the logits.
        """
        if self.tail is None:
            return
        if self.tail.log:
            fits = C.sum(-1).abs() <= 1e-6 * C.abs().sum(-1)
        else:
            few = ((C > 0).sum(-1) <= 1) & ((C < 0).sum(-1) <= 1)
            fits = few & (C.sum(-1) == 0) & (d == 0)
        if not bool(fits.all()):
            raise InputError(
                "specification: the model ends in a softmax, which bounds leave out; accepted there: rows that compare "
                f"two outputs, found {C[~fits][0].tolist()} with offset {float(d[~fits][0]):g}"
            )

    def to(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> "Graph":
        """The same graph with its constants in another precision or place; None: as they are."""
        nodes = tuple(replace(node, op=ops.converted(node.op, dtype, device)) for node in self.nodes)
        return replace(self, nodes=nodes)


class GraphModule(nn.Module):
    """A graph as a differentiable module, for formats that have no module of their own (ONNX)."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        for position, node in enumerate(graph.nodes):
            for name, value in ops.tensors(node.op).items():
                self.register_buffer(f"node{position}_{name}", value)
        self.register_load_state_dict_post_hook(_rebuilt)

    def forward(self, x: Tensor) -> Tensor:
        return self.graph.outputs(x)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "GraphModule":
        """What moves or converts the buffers, which are the graph's constants, changes the graph with them."""
        super()._apply(fn, recurse)
        self.rebuild()
        return self

    def rebuild(self) -> None:
        """Make the graph of the buffers as they are now; operations keep nothing that was derived from others."""
        nodes = []
        for position, node in enumerate(self.graph.nodes):
            found = {name: getattr(self, f"node{position}_{name}") for name in ops.tensors(node.op)}
            nodes.append(replace(node, op=ops.with_tensors(node.op, found)))
        self.graph = replace(self.graph, nodes=tuple(nodes))

    def extra_repr(self) -> str:
        """Every node with its settings: the digest of a module covers what it prints."""
        lines = []
        for node in self.graph.nodes:
            settings = ops.settings(node.op)
            lines.append(f"{node.name}: {type(node.op).__name__}{settings} of {node.inputs} -> {node.shape}")
        if self.graph.tail is not None:
            lines.append(f"tail: Softmax{vars(self.graph.tail)}")
        return "\n".join(lines)


def _rebuilt(module: nn.Module, keys: object) -> None:
    """After weights were loaded into a graph's module."""
    assert isinstance(module, GraphModule)
    module.rebuild()
