"""The names under which recipes find objectives, each with its table of settings."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from calipers.core.registry import Registry
from calipers.core.threat import ThreatModel
from calipers.train.objective import Objective, Progress, Unfitted

# Where the ramp of the radius stops being a power and goes on as a straight line, and that power.
_BEND, _POWER = 0.25, 4
# Below this share of the radius the ramp is 0: planes over intervals as narrow as rounding have wild gradients.
_LEAST = 1e-3


@dataclass(frozen=True)
class Inner:
    """The inner maximisation of an adversarial objective. threat: with its unit settled. step_size: of the radius.

    hold, warmup: epochs with radius 0, and then of growth up to the threat's.
    """

    threat: ThreatModel
    steps: int
    step_size: float
    hold: float = 0.0
    warmup: float = 0.0

    def warmed(self, progress: Progress) -> float:
        """The share of the warm-up that is over at the end of a step, in [0, 1]."""
        epochs = progress.epoch + (progress.batch + 1) / progress.batches - self.hold
        if self.warmup:
            return min(1.0, max(0.0, epochs / self.warmup))
        return float(epochs > 0)

    def at(self, progress: Progress) -> "Inner":
        """The inner maximisation at a step: with the radius of that moment, and no warm-up left.

        The radius grows as the fourth power of time and then in a straight line without a kink, which is how Xu et al.
        2020 smooth it (auto_LiRPA, appendix C).
        """
        share = self.warmed(progress)
        height = 1 / (_BEND**_POWER + (1 - _BEND) * _POWER * _BEND ** (_POWER - 1))
        bend = height * _BEND**_POWER
        ramp = height * share**_POWER if share < _BEND else bend + (share - _BEND) / (1 - _BEND) * (1 - bend)
        threat = self.threat.at(self.threat.epsilon * (ramp if ramp >= _LEAST else 0.0))
        return replace(self, threat=threat, hold=0.0, warmup=0.0)


@dataclass(frozen=True)
class ObjectiveKind:
    """settings: of the recipe's table [settings]. adversarial: needs [adversary].

    make: from the settings and, where it is adversarial, the inner maximisation (`Inner`). unlabelled: it learns from
    samples without a label too, which come with label -1.
    """

    settings: type[BaseModel]
    adversarial: bool
    make: Callable[[Any, Any], Objective | Unfitted]
    unlabelled: bool = False


OBJECTIVES: Registry[ObjectiveKind] = Registry("objective")
