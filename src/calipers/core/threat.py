"""The allowed perturbation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from torch import Tensor

from calipers.core.errors import InputError
from calipers.core.norms import Norm
from calipers.core.sets import LpBall


class Unit(StrEnum):
    """What one unit of epsilon is: a pixel value, or a pixel value divided by the model's standard deviation."""

    PIXEL = "pixel"
    NORMALISED = "normalised"


@dataclass(frozen=True)
class ThreatModel:
    """Perturbations r with ||r / scale||_norm <= epsilon and x + r inside `domain`.

    norm: "linf", "l2" or "l1". epsilon: radius in `unit`. domain: the interval every input value must stay in,
    or None. unit: "pixel" or "normalised"; it may be left out only for models that do not normalise.
    scale: set by `for_model`; the size of one unit, per channel.
    """

    norm: Norm | str
    epsilon: float
    domain: tuple[float, float] | None = (0.0, 1.0)
    unit: Unit | str | None = None
    scale: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.norm not in list(Norm):
            raise InputError(f"norm: {self.norm!r} is not a norm; accepted: {', '.join(Norm)}")
        if self.unit is not None and self.unit not in list(Unit):
            raise InputError(f"unit: {self.unit!r} is not a unit of epsilon; accepted: {', '.join(Unit)}")
        if not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise InputError(f"epsilon: {self.epsilon} is not a radius; accepted: a finite number >= 0")
        if self.domain is not None and not self.domain[0] < self.domain[1]:
            raise InputError(f"domain: {self.domain} is empty; accepted: (low, high) with low < high, or None")
        object.__setattr__(self, "norm", Norm(self.norm))
        object.__setattr__(self, "unit", None if self.unit is None else Unit(self.unit))

    def for_model(self, std: Sequence[float] | None) -> "ThreatModel":
        """Settle the unit for a model whose first layer divides channel c by std[c] (None: it does not divide)."""
        if std is None:
            if self.unit is Unit.NORMALISED:
                raise InputError(
                    "unit: 'normalised' needs a model whose first layer is calipers.models.Normalise; "
                    "this one has none, so use unit 'pixel'"
                )
            return replace(self, unit=Unit.PIXEL, scale=(1.0,))
        if self.unit is None:
            deviations = ", ".join(f"{value:g}" for value in std)
            raise InputError(
                f"unit: this model divides its input by {deviations}, so epsilon {self.epsilon:g} is ambiguous; "
                "say unit='pixel' (radius of the raw values) or unit='normalised' (radius after the division)"
            )
        return replace(self, scale=(1.0,) if self.unit is Unit.PIXEL else tuple(std))

    def at(self, epsilon: float) -> "ThreatModel":
        """The same threat with another radius."""
        return replace(self, epsilon=epsilon)

    def around(self, x: Tensor) -> LpBall:
        """The balls around x of shape (batch, channels, ...)."""
        if self.scale is None:
            raise InputError("threat model: the unit is not settled; call for_model(std) first (measure does)")
        if len(self.scale) not in (1, x.shape[1]):
            raise InputError(f"threat model: scale has {len(self.scale)} channels, the images have {x.shape[1]}")
        scale = torch.tensor(self.scale, dtype=x.dtype, device=x.device).reshape(-1, *([1] * (x.dim() - 2)))
        radius = torch.full((len(x),), self.epsilon, dtype=x.dtype, device=x.device)
        return LpBall(x, radius, Norm(self.norm), scale, self.domain)

    def __str__(self) -> str:
        inside = "unclipped" if self.domain is None else f"clipped to [{self.domain[0]:g}, {self.domain[1]:g}]"
        return f"{self.norm} epsilon {self.epsilon:g} ({self.unit or 'unit not settled'}), {inside}"
