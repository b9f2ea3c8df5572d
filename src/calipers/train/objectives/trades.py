"""TRADES (Zhang et al. 2019, equation 5)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from calipers.core.modes import frozen
from calipers.train.objective import Progress
from calipers.train.objectives.inner import ascended
from calipers.train.objectives.registry import OBJECTIVES, Inner, ObjectiveKind
from calipers.train.objectives.settings import LossSettings

# Standard deviation of the start: at x itself the divergence has no gradient. Theirs, for pixels in [0, 1].
_START = 1e-3


class TradesSettings(LossSettings):
    """beta: weight of the divergence, 1 / lambda of the paper."""

    beta: float = Field(default=6.0, ge=0)


@dataclass(frozen=True)
class Trades:
    """J(x, y) + beta * KL(f(x) || f(x')), x' the input in the ball where that divergence is largest."""

    inner: Inner
    beta: float

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """See `Loss`."""
        sets = self.inner.at(progress).threat.around(x)
        start = sets.project(x + _START * torch.randn_like(x))
        with frozen(model):
            target = F.softmax(model(x), 1)
            moved = ascended(
                sets, start, lambda z: _divergence(model(z), target), self.inner.steps, self.inner.step_size
            )
        logits = model(x)
        return F.cross_entropy(logits, y) + self.beta * _divergence(model(moved), F.softmax(logits, 1)) / len(x)


def _divergence(logits: Tensor, target: Tensor) -> Tensor:
    """KL(target || softmax(logits)), summed over the batch."""
    return F.kl_div(F.log_softmax(logits, 1), target, reduction="sum")


OBJECTIVES.add("trades")(
    ObjectiveKind(TradesSettings, True, lambda settings, inner: settings.minimised(Trades(inner, settings.beta)))
)
