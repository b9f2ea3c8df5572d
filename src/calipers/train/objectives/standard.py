"""Cross-entropy on clean samples."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from calipers.train.objective import Progress
from calipers.train.objectives.registry import OBJECTIVES, ObjectiveKind
from calipers.train.objectives.settings import LossSettings


@dataclass(frozen=True)
class Standard:
    """Cross-entropy on clean samples."""

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """See `Loss`."""
        return F.cross_entropy(model(x), y)


OBJECTIVES.add("standard")(ObjectiveKind(LossSettings, False, lambda settings, inner: settings.minimised(Standard())))
