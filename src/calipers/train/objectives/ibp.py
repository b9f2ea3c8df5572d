"""Training on interval bounds (Gowal et al. 2018, section 3)."""

from dataclasses import dataclass

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from calipers.train.objective import Progress
from calipers.train.objectives.certified import CertifiedSettings, against_others, interval_margins, worst_case_loss
from calipers.train.objectives.clean import clean_pass
from calipers.train.objectives.registry import OBJECTIVES, Inner, ObjectiveKind


class IBPSettings(CertifiedSettings):
    """first_kappa, last_kappa: weight of the clean loss before and after the warm-up."""

    first_kappa: float = Field(default=1.0, ge=0, le=1)
    last_kappa: float = Field(default=0.0, ge=0, le=1)


@dataclass(frozen=True)
class IntervalTraining:
    """kappa J(f(x), y) + (1 - kappa) J(worst logits, y), these from intervals. kappa: before, after warm-up."""

    inner: Inner
    kappa: tuple[float, float]

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """See `Loss`."""
        logits, graph = clean_pass(model, x)
        margins = interval_margins(graph, self.inner.at(progress).threat.around(x), against_others(logits, y))
        first, last = self.kappa
        kappa = first + (last - first) * self.inner.warmed(progress)
        return kappa * F.cross_entropy(logits, y) + (1 - kappa) * worst_case_loss(margins)


OBJECTIVES.add("ibp")(
    ObjectiveKind(
        IBPSettings,
        True,
        lambda settings, inner: settings.objective(
            IntervalTraining(inner, (settings.first_kappa, settings.last_kappa))
        ),
    )
)
