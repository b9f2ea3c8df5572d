"""Objectives: what a training step minimises."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calipers.attacks.pgd import steepest_ascent
from calipers.core.threat import ThreatModel


@runtime_checkable
class Objective(Protocol):
    """A scalar to minimise. Random draws come from the global generator, which the trainer seeds per batch."""

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Standard:
    """Cross-entropy on clean samples."""

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(model(x), y)


@dataclass(frozen=True)
class AdversarialPGD:
    """Cross-entropy on adversarial samples only (Madry et al. 2018, equation 2.1).

    threat: with its unit settled. step_size: of the radius.
    """

    threat: ThreatModel
    steps: int
    step_size: float

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(model(self.perturb(model, x, y)), y)

    def perturb(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """The last iterate from a random start; the model is in eval mode and frozen meanwhile."""
        sets = self.threat.around(x)
        here = sets.sample(torch.default_generator)
        was_training = model.training
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        model.eval()
        for parameter in trained:
            parameter.requires_grad_(False)
        try:
            for _ in range(self.steps):
                here = here.detach().requires_grad_(True)
                (gradient,) = torch.autograd.grad(F.cross_entropy(model(here), y, reduction="sum"), here)
                here = sets.project(here.detach() + steepest_ascent(sets, gradient, self.step_size))
        finally:
            model.train(was_training)
            for parameter in trained:
                parameter.requires_grad_(True)
        return here
