"""What a perturbation has to reach, as a minimum-norm problem on a network made of the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor, nn

from calipers.attacks.high_confidence import LogOdds, Versus, confident
from calipers.core.distances import Distance
from calipers.core.problem import MinimumNormProblem, Specification
from calipers.core.space import InputSpace
from calipers.train.objectives.critic_targets import nearest_targets


@dataclass(frozen=True, eq=False)
class Asked:
    """A network, and the problem on it. classes: that the model has to predict there; -1 for any other than now."""

    network: nn.Module
    problem: MinimumNormProblem
    classes: Int[Tensor, " batch"]


@runtime_checkable
class Goal(Protocol):
    """What is asked of every image of a batch. The label of an image is what the model predicts."""

    def asked(self, model: nn.Module, images: Tensor, ids: Sequence[int], space: InputSpace) -> Asked:
        """The problem in l2. model: from images to logits, without gradients of its weights."""


@dataclass(frozen=True)
class Misclassified:
    """Another prediction than the present one."""

    def asked(self, model: nn.Module, images: Tensor, ids: Sequence[int], space: InputSpace) -> Asked:
        """See `Goal`."""
        with torch.no_grad():
            logits = model(images)
        specification = Specification.classified_as(logits.argmax(1), logits.shape[1])
        return Asked(model, _problem(images, ids, space, specification), torch.full((len(images),), -1))


@dataclass(frozen=True)
class AsConfident:
    """The class with the nearest boundary, with the confidence that the present prediction has (section 4.5)."""

    def asked(self, model: nn.Module, images: Tensor, ids: Sequence[int], space: InputSpace) -> Asked:
        """See `Goal`."""
        odds, x = LogOdds(model), images.detach().requires_grad_(True)
        with torch.enable_grad():
            logits = model(x)
            targets = nearest_targets(x, logits)
        own = odds(images).detach().amax(1)
        specification = confident(targets, own, logits.shape[1])
        return Asked(odds, _problem(images, ids, space, specification), targets)


@dataclass(frozen=True)
class Towards:
    """One class with a confidence, whatever the image shows; images that have it already stay as they are."""

    target: int
    confidence: float

    def asked(self, model: nn.Module, images: Tensor, ids: Sequence[int], space: InputSpace) -> Asked:
        """See `Goal`."""
        labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
        problem = _problem(images, ids, space, Specification.classified_as(labels, 2))
        return Asked(Versus(model, self.target, self.confidence), problem, torch.full_like(labels, self.target))


def _problem(images: Tensor, ids: Sequence[int], space: InputSpace, specification: Specification) -> MinimumNormProblem:
    scale = space.scale_of(images)
    return MinimumNormProblem("relative", tuple(ids), images, Distance.L2, scale, space.domain, specification)
