"""Cross-entropy on clean samples."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from calipers.train.objective import Minimised, Progress
from calipers.train.objectives.registry import OBJECTIVES, NoSettings, ObjectiveKind


@dataclass(frozen=True)
class Standard:
    """Cross-entropy on clean samples."""

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """See `Loss`."""
        return F.cross_entropy(model(x), y)


OBJECTIVES.add("standard")(ObjectiveKind(NoSettings, False, lambda settings, inner: Minimised(Standard())))
