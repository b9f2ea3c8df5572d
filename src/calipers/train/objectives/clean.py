"""The clean pass of certified training: logits, and the graph of the network that made them."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from calipers.graph.graph import Graph
from calipers.graph.live import live_graph, tensors_of


def clean_pass(model: nn.Module, x: Tensor) -> tuple[Tensor, Graph]:
    """Logits at clean inputs, and the model's graph with its parameters as they are, both with gradients.

    Where the model is in train mode its BatchNorm layers normalise by the statistics of this batch, here and in the
    graph: those of clean inputs serve for the bounds too (Gowal et al. 2018; Shi et al. 2021, section 3.2).
    """
    with _statistics(model) as seen:
        logits = model(x)
    return logits, live_graph(model, tuple(x.shape[1:])).at({**tensors_of(model), **seen})


@contextmanager
def _statistics(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Mean and variance that BatchNorm layers in train mode see meanwhile, by the names of their running ones."""
    seen: dict[str, Tensor] = {}
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, _BatchNorm) and m.training]
    hooks = [layer.register_forward_pre_hook(partial(_look, seen, name)) for name, layer in layers]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _look(seen: dict[str, Tensor], name: str, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
    dims = [0, *range(2, inputs[0].dim())]
    variance, mean = torch.var_mean(inputs[0], dims, correction=0)
    seen[f"{name}.running_mean"], seen[f"{name}.running_var"] = mean, variance
