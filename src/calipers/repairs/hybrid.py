"""Hybrid networks: the convolutional part of a network with a support vector machine in place of what follows it.

Guidotti & Leofante, "Repair of Convolutional Neural Networks using Convex Optimization: Preliminary Experiments",
section 3.1: LH with one-vs-rest linear machines, KH with a radial basis function kernel, both of scikit-learn.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC, LinearSVC
from torch import Tensor, nn

from calipers.core.errors import InputError
from calipers.graph import ops
from calipers.graph.graph import Graph, GraphModule, Node
from calipers.models.zoo import Classifier
from calipers.repairs.layers import affine_layers, chosen_layer, cut_at

_BATCH = 500
# The decision value of a class that no label names.
_NEVER = -1e6


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """What a network computes before one of its fully connected layers.

    model: the network. layer: the name of the layer. graph: up to its inputs.
    """

    model: nn.Module
    layer: str
    graph: Graph

    @classmethod
    def of(cls, model: nn.Module, graph: Graph, layer: str | None = None) -> "FeatureMap":
        """layer: the first fully connected one by default. Raises InputError that lists what there is."""
        first = affine_layers(model, graph)
        found = chosen_layer(model, graph, layer or (first[0].name if first else None))
        return cls(model, found.name, cut_at(graph, found).before)

    @property
    def size(self) -> int:
        """How many features there are."""
        return int(np.prod(self.graph.nodes[-1].shape))

    def __call__(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch features"]:
        """The features of a batch."""
        with torch.no_grad():
            return torch.cat([self.graph.evaluate(part).flatten(1) for part in x.split(_BATCH)])

    def under(self, head: nn.Module) -> nn.Module:
        """The features with another head. A zoo network stays one, with the layers after the features exchanged."""
        prefix = "main."
        if isinstance(self.model, Classifier) and self.layer.startswith(prefix):
            kept = list(self.model.main)[: int(self.layer.removeprefix(prefix))]
            found: nn.Module = Classifier(*kept, head)
            found.normalise = self.model.normalise
        elif isinstance(head, nn.Linear):
            node = Node(
                "head", ops.Linear(head.weight.detach(), head.bias.detach()), (self.graph.output,), head.bias.shape
            )
            found = GraphModule(Graph((*self.graph.nodes, node)))
        else:
            found = nn.Sequential(GraphModule(self.graph), nn.Flatten(), head)
        return found.eval().requires_grad_(False)


def linear_head(
    features: Float[np.ndarray, "samples features"], labels: Int[np.ndarray, " samples"], C: float = 1.0, seed: int = 0
) -> nn.Linear:
    """One-vs-rest linear support vector machines as a layer that gives their decision values (LH).

    C: scikit-learn's. Raises InputError for labels of fewer than two classes.
    """
    _require_classes(labels)
    machine = LinearSVC(C=C, dual="auto", random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # accuracy is what is looked at
        machine.fit(features, labels)
    weight, bias = torch.from_numpy(machine.coef_).float(), torch.from_numpy(machine.intercept_).float()
    if len(machine.classes_) == 2:
        weight, bias = torch.cat([-weight, weight]), torch.cat([-bias, bias])
    return _placed(weight, bias, machine.classes_)


class RbfHead(nn.Module):
    """Features -> decision values of one-vs-rest machines with the kernel exp(-gamma |v - s|^2) (KH).

    support (vectors, features), dual (classes, vectors), bias (classes,): of scikit-learn's SVC.
    """

    support: Tensor
    dual: Tensor
    bias: Tensor

    def __init__(self, support: Tensor, dual: Tensor, bias: Tensor, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma
        for name, value in (("support", support), ("dual", dual), ("bias", bias)):
            self.register_buffer(name, value)

    def forward(self, v: Float[Tensor, "batch features"]) -> Float[Tensor, "batch classes"]:
        apart = v.square().sum(1, keepdim=True) - 2 * v @ self.support.T + self.support.square().sum(1)
        return torch.exp(-self.gamma * apart.clamp(min=0)) @ self.dual.T + self.bias


def kernel_head(
    features: Float[np.ndarray, "samples features"], labels: Int[np.ndarray, " samples"], C: float = 1.0
) -> RbfHead:
    """One-vs-rest machines with scikit-learn's standard radial basis function (gamma = 1 / (features * variance)).

    Raises InputError for labels of fewer than two classes.
    """
    _require_classes(labels)
    gamma = 1.0 / (features.shape[1] * float(features.var()))
    machines = OneVsRestClassifier(SVC(C=C, gamma=gamma)).fit(features, labels).estimators_
    used = np.unique(np.concatenate([machine.support_ for machine in machines]))
    dual = np.zeros((int(labels.max()) + 1, len(used)))
    bias = np.full(len(dual), _NEVER)
    classes = np.unique(labels)
    # Of two classes there is one machine, of the second.
    for label, machine in zip(classes if len(machines) > 1 else classes[1:], machines, strict=True):
        dual[label, np.searchsorted(used, machine.support_)] = machine.dual_coef_[0]
        bias[label] = machine.intercept_[0]
    if len(machines) == 1:
        dual[classes[0]], bias[classes[0]] = -dual[classes[1]], -bias[classes[1]]
    return RbfHead(
        torch.from_numpy(features[used]).float(), torch.from_numpy(dual).float(), torch.from_numpy(bias).float(), gamma
    )


def _placed(weight: Tensor, bias: Tensor, classes: np.ndarray) -> nn.Linear:
    """A layer with a row for every class; one that no label names is never the largest."""
    count = int(classes.max()) + 1
    head = nn.Linear(weight.shape[1], count)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(_NEVER)
        head.weight[torch.from_numpy(classes)] = weight
        head.bias[torch.from_numpy(classes)] = bias
    return head.eval().requires_grad_(False)


def _require_classes(labels: np.ndarray) -> None:
    found = np.unique(labels)
    if len(found) < 2:
        raise InputError(f"hybrid: all labels are {found.tolist()}; accepted: two classes or more")
