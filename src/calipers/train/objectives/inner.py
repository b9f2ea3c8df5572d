"""Perturbations inside training steps, which leave no gradient on the weights."""

from collections.abc import Callable

import torch
from torch import Tensor

from calipers.attacks.pgd import steepest_ascent
from calipers.core.sets import LpBall


def ascended(sets: LpBall, start: Tensor, loss: Callable[[Tensor], Tensor], steps: int, step_size: float) -> Tensor:
    """The last iterate of projected steepest ascent on a summed loss. step_size: of the radius."""
    here = start
    for _ in range(steps):
        here = here.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(here), here)
        here = sets.project(here.detach() + steepest_ascent(sets, gradient, step_size))
    return here.detach()
