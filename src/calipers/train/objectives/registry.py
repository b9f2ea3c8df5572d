"""The names under which recipes find objectives, each with its table of settings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from calipers.core.registry import Registry
from calipers.core.threat import ThreatModel
from calipers.train.objective import Objective


class NoSettings(BaseModel):
    """An objective without settings of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Inner:
    """The inner maximisation of an adversarial objective. threat: with its unit settled. step_size: of the radius."""

    threat: ThreatModel
    steps: int
    step_size: float


@dataclass(frozen=True)
class ObjectiveKind:
    """settings: of the recipe's table [settings]. adversarial: needs [adversary].

    make: from the settings and, where it is adversarial, the inner maximisation (`Inner`).
    """

    settings: type[BaseModel]
    adversarial: bool
    make: Callable[[Any, Any], Objective]


OBJECTIVES: Registry[ObjectiveKind] = Registry("objective")
