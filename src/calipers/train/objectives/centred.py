"""First biases from the first batch: no neuron begins on the same side of 0 for every sample."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from calipers.core.modes import evaluating
from calipers.train.objective import Metrics, Objective, OptimizerMaker, Progress, State

_LAYERS = nn.Linear | nn.Conv1d | nn.Conv2d


@dataclass(frozen=True)
class Centred:
    """An objective before whose first step every neuron's bias makes it 0 on average over the batch.

    Images have a mean far from 0, above all where pixels are normalised, and then ReLUs with small weights begin as
    constants, switched on by all samples or by none; the latter have no gradient. The mean is over samples and places,
    in eval mode, layer after layer in the order in which they are reached (Krähenbühl et al., Data-dependent
    initializations of convolutional neural networks, 2016, section 3.1, of which this is the part about biases).
    """

    of: Objective

    def init(self, model: nn.Module, optimizer: OptimizerMaker) -> State:
        """See `Objective`."""
        return self.of.init(model, optimizer)

    def step(self, state: State, x: Tensor, y: Tensor, progress: Progress) -> tuple[State, Metrics]:
        """See `Objective`."""
        if (progress.epoch, progress.batch) == (0, 0):
            centre(state.model, x)
        return self.of.step(state, x, y, progress)


def centre(model: nn.Module, x: Tensor) -> None:
    """Change biases of convolutions and fully connected layers so that their outputs for x are 0 on average."""
    with torch.no_grad(), evaluating(model), _centring(model):
        model(x)


@contextmanager
def _centring(model: nn.Module) -> Iterator[None]:
    layers = [layer for layer in model.modules() if isinstance(layer, _LAYERS) and layer.bias is not None]
    hooks = [layer.register_forward_hook(_centred) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _centred(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """The output with the new bias. Of a fully connected layer the neurons are the last dimension."""
    assert isinstance(layer, _LAYERS)
    assert layer.bias is not None
    neurons = -1 if isinstance(layer, nn.Linear) else 1
    others = [d for d in range(output.dim()) if d != neurons % output.dim()]
    mean = output.mean(others, keepdim=True)
    layer.bias.sub_(mean.flatten())
    return output - mean
