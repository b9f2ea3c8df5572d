"""Training on CAPM's bound (bibliography 002), maxpool included; without maxpools it is CAP's (Wong & Kolter 2018)."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from calipers.bounds import CAPM, WorkBudget
from calipers.train.objective import Progress
from calipers.train.objectives.certified import Ramp, against_others, worst_case_loss
from calipers.train.objectives.clean import clean_pass
from calipers.train.objectives.linear import LinearSettings, LinearTraining
from calipers.train.objectives.registry import OBJECTIVES, Inner, ObjectiveKind


class CAPMSettings(LinearSettings):
    """walks: bound inner neurons by walks too, as the verifier does, in place of intervals; many times the cost.

    The mixture with intervals is for walks from the output alone: with `walks` beta plays no part.
    """

    walks: bool = False


@dataclass(frozen=True)
class DualTraining:
    """kappa J(f(x), y) + (1 - kappa) J(worst logits, y), these from CAPM as the verifier computes it."""

    inner: Inner
    kappa: Ramp

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """See `Loss`."""
        logits, graph = clean_pass(model, x)
        sets = self.inner.at(progress).threat.around(x)
        margins = CAPM.margins(graph, sets, against_others(logits, y), WorkBudget()).lower
        kappa = self.kappa.at(self.inner.warmed(progress))
        return kappa * F.cross_entropy(logits, y) + (1 - kappa) * worst_case_loss(margins)


def _loss(settings: CAPMSettings, inner: Inner) -> LinearTraining | DualTraining:
    if settings.walks:
        return DualTraining(inner, settings.kappa)
    return LinearTraining(inner, CAPM, settings.kappa, settings.beta, settings.classes)


OBJECTIVES.add("capm")(
    ObjectiveKind(CAPMSettings, True, lambda settings, inner: settings.objective(_loss(settings, inner)))
)
