"""Perturbations inside training steps, which leave no gradient on the weights."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from calipers.attacks.pgd import steepest_ascent
from calipers.core.sets import LpBall


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in eval mode; as it was afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextmanager
def constant(model: nn.Module) -> Iterator[None]:
    """The model without gradients of its weights; as it was afterwards."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """The model in eval mode and without gradients of its weights; as it was afterwards."""
    with evaluating(model), constant(model):
        yield


def ascended(sets: LpBall, start: Tensor, loss: Callable[[Tensor], Tensor], steps: int, step_size: float) -> Tensor:
    """The last iterate of projected steepest ascent on a summed loss. step_size: of the radius."""
    here = start
    for _ in range(steps):
        here = here.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(here), here)
        here = sets.project(here.detach() + steepest_ascent(sets, gradient, step_size))
    return here.detach()
