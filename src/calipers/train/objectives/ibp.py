"""Training on interval bounds (Gowal et al. 2018, section 3)."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from calipers.train.objective import Progress
from calipers.train.objectives.certified import (
    MixedSettings,
    Ramp,
    against_others,
    interval_margins,
    worst_case_loss,
)
from calipers.train.objectives.clean import clean_pass
from calipers.train.objectives.registry import OBJECTIVES, Inner, ObjectiveKind


@dataclass(frozen=True)
class IntervalTraining:
    """kappa J(f(x), y) + (1 - kappa) J(worst logits, y), the worst logits from intervals of the ball's box."""

    inner: Inner
    kappa: Ramp

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """See `Loss`."""
        logits, graph = clean_pass(model, x)
        margins = interval_margins(graph, self.inner.at(progress).threat.around(x), against_others(logits, y))
        kappa = self.kappa.at(self.inner.warmed(progress))
        return kappa * F.cross_entropy(logits, y) + (1 - kappa) * worst_case_loss(margins)


OBJECTIVES.add("ibp")(
    ObjectiveKind(
        MixedSettings,
        True,
        lambda settings, inner: settings.objective(IntervalTraining(inner, settings.kappa)),
    )
)
