"""SABR: intervals of small boxes around adversarial points (Mueller et al. 2023, section 3)."""

from dataclasses import dataclass, replace

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


class SABRSettings(CertifiedSettings):
    """tau: radius of the small box, of the ball's."""

    tau: float = Field(default=0.4, gt=0, le=1)


@dataclass(frozen=True)
class SmallBoxes:
    """J(worst logits, y) over a ball of radius tau * epsilon around a point that PGD finds within (1 - tau) * epsilon.

    The small ball lies in the ball, so the loss is neither an upper nor a lower bound of the worst one there.
    """

    inner: Inner
    tau: float

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """See `Loss`."""
        now = self.inner.at(progress)
        nearer = now.threat.at((1 - self.tau) * now.threat.epsilon)
        centre = AdversarialPGD(replace(now, threat=nearer)).perturb(model, x, y)
        logits, graph = clean_pass(model, x)
        small = now.threat.at(self.tau * now.threat.epsilon).around(centre)
        return worst_case_loss(interval_margins(graph, small, against_others(logits, y)))


OBJECTIVES.add("sabr")(
    ObjectiveKind(SABRSettings, True, lambda settings, inner: settings.objective(SmallBoxes(inner, settings.tau)))
)
