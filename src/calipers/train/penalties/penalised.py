"""A loss with penalties on top."""

from dataclasses import dataclass

from torch import Tensor, nn

from calipers.train.objective import Loss, Progress
from calipers.train.penalties.penalty import Penalty


@dataclass(frozen=True)
class Penalised:
    """A loss plus the weighted sum of penalties, at the inputs of the batch."""

    of: Loss
    penalties: tuple[Penalty, ...]

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """See `Loss`. Raises InputError in the first step where the model cannot be penalised so."""
        loss = self.of.loss(model, x, y, progress)
        for penalty in self.penalties:
            if progress.epoch == progress.batch == 0:
                penalty.check(model, x)
            loss = loss + penalty.weight * penalty.value(model, x, y)
        return loss
