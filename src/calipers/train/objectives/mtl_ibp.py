"""MTL-IBP: a mixture of the loss of an attack and of interval bounds (De Palma et al. 2024, section 4.2)."""

from dataclasses import dataclass

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from calipers.train.objective import Progress
from calipers.train.objectives.certified import (
    CertifiedSettings,
    against_others,
    interval_margins,
    worst_case_loss,
)
from calipers.train.objectives.clean import clean_pass
from calipers.train.objectives.pgd import AdversarialPGD
from calipers.train.objectives.registry import OBJECTIVES, Inner, ObjectiveKind


class MTLIBPSettings(CertifiedSettings):
    """alpha: weight of the loss from intervals; the rest is that of the attack."""

    alpha: float = Field(default=0.1, ge=0, le=1)


@dataclass(frozen=True)
class AttackAndIntervals:
    """(1 - alpha) J(f(x_adv), y) + alpha J(worst logits, y), x_adv from PGD; BatchNorm by clean statistics in both."""

    inner: Inner
    alpha: float

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """See `Loss`."""
        now = self.inner.at(progress)
        moved = AdversarialPGD(now).perturb(model, x, y)
        logits, graph = clean_pass(model, x)
        attacked = F.cross_entropy(graph.evaluate(moved), y)
        margins = interval_margins(graph, now.threat.around(x), against_others(logits, y))
        return (1 - self.alpha) * attacked + self.alpha * worst_case_loss(margins)


OBJECTIVES.add("mtl-ibp")(
    ObjectiveKind(
        MTLIBPSettings,
        True,
        lambda settings, inner: settings.objective(AttackAndIntervals(inner, settings.alpha)),
    )
)
