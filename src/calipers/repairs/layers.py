"""The fully connected layers of a network, which a repair may change, and what goes in and out of one."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from calipers.core.errors import InputError
from calipers.graph import ops
from calipers.graph.graph import Graph, Node

# Inputs at once.
_BATCH = 256


@dataclass(frozen=True)
class AffineLayer:
    """name: in the model. position: in its graph. weight, bias: names in its state dict; bias is None without one."""

    name: str
    position: int
    weight: str
    bias: str | None


@dataclass(frozen=True, eq=False)
class Cut:
    """A network cut around one of its fully connected layers, everything else of which stays as it is.

    before: computes the layer's inputs. after: the outputs from the layer's; None where the layer is the last.
    weight: of the layer in double precision, (outputs, inputs); where it has a bias, that is its last column, and all
    inputs have a last entry of 1.
    """

    layer: AffineLayer
    before: Graph
    after: Graph | None
    weight: Float[np.ndarray, "outputs inputs"]

    def inputs(self, x: Float[Tensor, "batch *shape"]) -> Float[np.ndarray, "batch inputs"]:
        """What the layer is given at a batch of network inputs, computed in the network's own precision."""
        with torch.no_grad():
            parts = [self.before.evaluate(part).flatten(1).cpu().double().numpy() for part in x.split(_BATCH)]
        values = np.concatenate(parts) if parts else np.zeros((0, self.features))
        return self.completed(values)

    def completed(self, values: Float[np.ndarray, "batch features"]) -> Float[np.ndarray, "batch inputs"]:
        """The values with the 1 that the bias belongs to."""
        return values if self.layer.bias is None else np.hstack([values, np.ones((len(values), 1))])

    @property
    def features(self) -> int:
        """How many values the layer takes, without the 1 of the bias."""
        return self.weight.shape[1] - (self.layer.bias is not None)

    def state(self, weight: Float[np.ndarray, "outputs inputs"]) -> dict[str, Tensor]:
        """The layer's tensors by their names in the state dict, in double precision, for weights with their bias."""
        found = {self.layer.weight: torch.from_numpy(weight[:, : self.features].copy())}
        if self.layer.bias is not None:
            found[self.layer.bias] = torch.from_numpy(weight[:, -1].copy())
        return found

    def repaired(self, weight: Float[np.ndarray, "outputs inputs"], dtype: torch.dtype = torch.float32) -> Graph:
        """The whole network with these weights, rounded to what is deployed."""
        matrix = torch.from_numpy(weight[:, : self.features].copy()).to(dtype)
        bias = torch.zeros(len(weight)) if self.layer.bias is None else torch.from_numpy(weight[:, -1].copy())
        node = Node(self.layer.name, ops.Linear(matrix, bias.to(dtype)), (self.before.output,), (len(weight),))
        rest: tuple[Node, ...] = ()
        if self.after is not None:
            moved = self.layer.position
            rest = tuple(replace(n, inputs=tuple(i + moved for i in n.inputs)) for n in self.after.nodes[1:])
        tail = None if self.after is None else self.after.tail
        return Graph((*self.before.nodes, node, *rest), tail)


def affine_layers(model: nn.Module, graph: Graph) -> list[AffineLayer]:
    """The fully connected layers through which everything goes and whose weights are the model's own, first to last."""
    state = model.state_dict()
    found = []
    for position, node in enumerate(graph.nodes):
        if not isinstance(node.op, ops.Linear) or not graph.separates(position) or not graph.separates(node.inputs[0]):
            continue
        weight = _named(state, node.op.weight, node.name, "weight")
        bias = _named(state, node.op.bias, node.name, "bias")
        if weight is not None and (bias is not None or not bool(node.op.bias.any())):
            found.append(AffineLayer(node.name, position, weight, bias))
    return found


def chosen_layer(model: nn.Module, graph: Graph, name: str | None = None) -> AffineLayer:
    """The layer of this name, or the last. Raises InputError that lists what there is."""
    layers = affine_layers(model, graph)
    if not layers:
        raise InputError("repair: the model has no fully connected layer through which everything goes")
    if name is None:
        return layers[-1]
    by_name = {layer.name: layer for layer in layers}
    if name not in by_name:
        raise InputError(f"repair: {name!r} is no fully connected layer of the model; accepted: {', '.join(by_name)}")
    return by_name[name]


def cut_at(graph: Graph, layer: AffineLayer) -> Cut:
    """The network around a layer."""
    node = graph.nodes[layer.position]
    assert isinstance(node.op, ops.Linear)
    before, _ = graph.cut(node.inputs[0])
    _, after = graph.cut(layer.position)
    weight = node.op.weight.cpu().double().numpy()
    if layer.bias is not None:
        weight = np.hstack([weight, node.op.bias.cpu().double().numpy()[:, None]])
    return Cut(layer, before, None if layer.position == graph.output else after, weight)


def put_layer(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Write a layer's tensors into a model, in its own precision and place."""
    model.load_state_dict(tensors, strict=False)


def _named(state: dict[str, Tensor], value: Tensor, layer: str, part: str) -> str | None:
    """The name of the one tensor of a model that holds these values; the layer's own where several do."""
    equal = [name for name, tensor in state.items() if tensor.shape == value.shape and torch.equal(tensor, value)]
    own = f"{layer}.{part}"
    if own in equal:
        return own
    return equal[0] if len(equal) == 1 else None
