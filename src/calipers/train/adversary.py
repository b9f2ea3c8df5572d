"""The table [adversary] of recipes."""

from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from calipers.core.norms import Norm
from calipers.core.space import RadiusUnit
from calipers.core.threat import ThreatModel
from calipers.models.normalise import input_std
from calipers.train.objectives.registry import Inner


class Adversary(BaseModel):
    """The inner maximisation of adversarial training (Madry et al. 2018): random start, `steps` steps of PGD.

    step_size: of the radius; default 2.5 / steps. hold, warmup: epochs with radius 0, and then of growth up to epsilon.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    norm: Norm = Norm.LINF
    epsilon: float = Field(gt=0)
    unit: RadiusUnit | None = None
    domain: tuple[float, float] | None = (0.0, 1.0)
    steps: int = Field(default=7, ge=1)
    step_size: float | None = Field(default=None, gt=0)
    hold: float = Field(default=0.0, ge=0)
    warmup: float = Field(default=0.0, ge=0)

    @property
    def length(self) -> float:
        """Of a step, as a share of the radius."""
        return self.step_size or 2.5 / self.steps

    @property
    def threat(self) -> ThreatModel:
        """The threat model to train against, its unit still to be settled for the model."""
        return ThreatModel(self.norm, self.epsilon, self.domain, self.unit)

    def inner(self, model: nn.Module) -> Inner:
        """The inner maximisation, with the unit of its threat settled for the model."""
        return Inner(self.threat.for_model(input_std(model)), self.steps, self.length, self.hold, self.warmup)

    def full(self, model: nn.Module) -> Inner:
        """The same at the full radius from the start."""
        return replace(self.inner(model), hold=0.0, warmup=0.0)
