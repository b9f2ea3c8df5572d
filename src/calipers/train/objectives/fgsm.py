"""Training on clean and FGSM samples (Goodfellow et al. 2015, section 6)."""

from dataclasses import dataclass

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from calipers.core.modes import frozen
from calipers.train.objective import Progress
from calipers.train.objectives.inner import ascended
from calipers.train.objectives.registry import OBJECTIVES, Inner, ObjectiveKind
from calipers.train.objectives.settings import LossSettings


class FGSMSettings(LossSettings):
    """clean: weight of the clean loss, the rest is that of the adversarial one."""

    clean: float = Field(default=0.5, ge=0, le=1)


@dataclass(frozen=True)
class AdversarialFGSM:
    """clean * J(x, y) + (1 - clean) * J(x + one full step, y); the step starts at x itself."""

    inner: Inner
    clean: float

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """See `Loss`."""
        sets = self.inner.at(progress).threat.around(x)
        with frozen(model):
            moved = ascended(sets, x, lambda here: F.cross_entropy(model(here), y, reduction="sum"), 1, 1.0)
        return self.clean * F.cross_entropy(model(x), y) + (1 - self.clean) * F.cross_entropy(model(moved), y)


OBJECTIVES.add("fgsm")(
    ObjectiveKind(
        FGSMSettings, True, lambda settings, inner: settings.minimised(AdversarialFGSM(inner, settings.clean))
    )
)
