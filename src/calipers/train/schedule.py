"""How the learning rate changes: factors of the first one."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from calipers.train.objective import Progress


class Schedule(BaseModel):
    """shape: constant, step (times `factor` from each milestone on), cosine (to 0 at the end), or cyclic (up to the
    first rate in the middle and down again). milestones: shares of the training. warmup: epochs of linear growth.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: Literal["constant", "step", "cosine", "cyclic"] = "constant"
    milestones: tuple[float, ...] = (0.5, 0.75)
    factor: float = Field(default=0.1, gt=0, le=1)
    warmup: float = Field(default=0.0, ge=0)

    def at(self, progress: Progress) -> float:
        """The factor at a step."""
        growth = 1.0
        if self.warmup:
            growth = min(1.0, (progress.epoch + (progress.batch + 1) / progress.batches) / self.warmup)
        match self.shape:
            case "step":
                return growth * self.factor ** sum(progress.share >= share for share in self.milestones)
            case "cosine":
                return growth * (1 + math.cos(math.pi * progress.share)) / 2
            case "cyclic":
                return growth * (1 - abs(2 * progress.share - 1))
            case _:
                return growth
