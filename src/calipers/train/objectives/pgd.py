"""Adversarial training (Madry et al. 2018, equation 2.1)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calipers.core.modes import frozen
from calipers.train.objective import Progress
from calipers.train.objectives.inner import ascended
from calipers.train.objectives.registry import OBJECTIVES, Inner, ObjectiveKind
from calipers.train.objectives.settings import LossSettings


@dataclass(frozen=True)
class AdversarialPGD:
    """Cross-entropy on adversarial samples only: random start, then steps of PGD."""

    inner: Inner

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """See `Loss`."""
        now = AdversarialPGD(self.inner.at(progress))
        return F.cross_entropy(model(now.perturb(model, x, y)), y)

    def perturb(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """The last iterate from a random start; the model is in eval mode and frozen meanwhile."""
        sets = self.inner.threat.around(x)
        start = sets.sample(torch.default_generator)
        with frozen(model):
            return ascended(
                sets,
                start,
                lambda here: F.cross_entropy(model(here), y, reduction="sum"),
                self.inner.steps,
                self.inner.step_size,
            )


OBJECTIVES.add("pgd")(
    ObjectiveKind(LossSettings, True, lambda settings, inner: settings.minimised(AdversarialPGD(inner)))
)
