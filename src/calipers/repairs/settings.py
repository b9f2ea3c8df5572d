"""What is asked of a repair."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from jaxtyping import Float

from calipers.core.errors import InputError
from calipers.repairs.metric import Metric
from calipers.repairs.objectives import Mahalanobis, Objective
from calipers.repairs.sparse import Elastic, LeastAbsolute

OBJECTIVES = ("mahalanobis", "l2", "l1", "elastic")


class Guarantee(StrEnum):
    """Where a repaired sample has to be right: at the failure itself; wherever its features can be by their bounds over
    a whole input ball; or by linear bounds over the ball, which keep how features move together.
    """

    POINT = "point"
    BOX = "box"
    LINEAR = "linear"


@dataclass(frozen=True)
class RepairSettings:
    """guarantee: where. radius: of the balls, in the threat's unit; 0 for points. margin: that repaired samples get, in
    logits; None: half the median margin of clean data. objective: one of `OBJECTIVES`. ridge: of the metric.
    layer: that changes; None: the last. keep: so many clean samples that are right have to stay right, keep_certified:
    so many whose ball linear bounds prove have to stay proven. rounds: of attacks whose finds are repaired too.
    """

    guarantee: Guarantee = Guarantee.POINT
    radius: float = 0.0
    margin: float | None = None
    objective: str = "mahalanobis"
    ridge: float = 1e-2
    layer: str | None = None
    keep: int = 0
    keep_certified: int = 0
    rounds: int = 0

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise InputError(f"repair: objective {self.objective!r}; accepted: {', '.join(OBJECTIVES)}")
        ball = self.guarantee is not Guarantee.POINT or self.keep_certified > 0
        if ball and not 0 < self.radius < np.inf:
            raise InputError(
                f"repair: radius {self.radius:g} for guarantee {self.guarantee}; accepted: a positive number"
            )
        if self.margin is not None and not 0 < self.margin < np.inf:
            raise InputError(f"repair: margin {self.margin:g}; accepted: a positive number of logits")
        for name in ("keep", "keep_certified", "rounds"):
            if getattr(self, name) < 0:
                raise InputError(f"repair: {name} {getattr(self, name)}; accepted: 0 or more")

    def size(self, reference: Float[np.ndarray, "samples inputs"]) -> Objective:
        """The objective, for clean inputs of the layer."""
        match self.objective:
            case "l1":
                return LeastAbsolute()
            case "elastic":
                return Elastic()
            case name:
                return Mahalanobis(Metric.of(reference, np.inf if name == "l2" else self.ridge), name)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {**vars(self), "guarantee": str(self.guarantee)}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "RepairSettings":
        """Inverse of `to_dict`."""
        return cls(**{**raw, "guarantee": Guarantee(raw["guarantee"])})
