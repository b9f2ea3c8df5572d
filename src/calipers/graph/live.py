"""Graphs whose constants are a module's parameters as they are now: gradients of what is made of them reach these."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from calipers.core.devices import CPU
from calipers.graph import ops
from calipers.graph.check import check_graph
from calipers.graph.from_torch import exported
from calipers.graph.graph import Graph, Node
from calipers.graph.torch_walk import TorchWalk

# A batch size that tells samples apart.
_BATCH = 2


@dataclass(frozen=True, eq=False)
class LiveGraph:
    """The graph of a module in eval mode, as a function of parameters and buffers. The module is traced once."""

    program: ExportedProgram
    input_shape: tuple[int, ...]

    @classmethod
    def of(cls, model: nn.Module, input_shape: tuple[int, ...]) -> "LiveGraph":
        """Raises UnsupportedLayerError and ModelError as `from_module` does."""
        was_training = model.training
        model.eval()
        try:
            like = next(model.parameters())
            live = cls(exported(model, like.new_zeros(_BATCH, *input_shape)), input_shape)
            with torch.no_grad():
                check_graph(live._walked(tensors_of(model)), partial(_outputs, model, like))
        finally:
            model.train(was_training)
        return live

    def at(self, tensors: Mapping[str, Tensor]) -> Graph:
        """The graph with these parameters and buffers, by name, in place of those that the module had when traced.

        BatchNorm is a scale there, which unlike torch's own has gradients of its statistics.
        """
        graph = self._walked(tensors)
        graph = replace(graph, nodes=tuple(_scaled(node) for node in graph.nodes))
        # A walk reads constants on the CPU; gradients reach the tensors from wherever these are.
        device = next((tensor.device for tensor in tensors.values()), CPU)
        return graph if device == CPU else graph.to(device=device)

    def _walked(self, tensors: Mapping[str, Tensor]) -> Graph:
        return TorchWalk(self.program, self.input_shape, _BATCH, tensors).graph()


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a module, by name."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return {**parameters, **dict(model.named_buffers(remove_duplicate=False))}


def _scaled(node: Node) -> Node:
    op = node.op
    return replace(node, op=ops.Scale(op.weight, op.bias)) if isinstance(op, ops.BatchNorm) else node


# What each module was traced to.
_TRACED: "WeakKeyDictionary[nn.Module, LiveGraph]" = WeakKeyDictionary()


def live_graph(model: nn.Module, input_shape: tuple[int, ...]) -> LiveGraph:
    """`LiveGraph.of`, which is made when it is first asked for: the structure of a module does not change."""
    found = _TRACED.get(model)
    if found is None or found.input_shape != input_shape:
        found = _TRACED[model] = LiveGraph.of(model, input_shape)
    return found


def _outputs(model: nn.Module, like: Tensor, x: Tensor) -> Tensor:
    return model(x.to(like)).to(x)
