"""The allowed perturbation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from calipers.core.errors import InputError
from calipers.core.norms import Norm
from calipers.core.radius import as_radii
from calipers.core.sets import LpBall


class Unit(StrEnum):
    """What one unit of epsilon is: a pixel value, or a pixel value divided by the model's standard deviation."""

    PIXEL = "pixel"
    NORMALISED = "normalised"


@dataclass(frozen=True, init=False)
class ThreatModel:
    """Perturbations r with ||r / scale||_norm <= epsilon and x + r inside `domain`.

    norm: "linf", "l2" or "l1". epsilon: radius in `unit`, as a number or text such as "8/255". Of several, all are in
    `epsilons`, which `measure` goes through, and the largest is `epsilon`. domain: the interval every input value must
    stay in, or None. unit: "pixel" or "normalised"; it may be left out only for models that do not normalise.
    scale: set by `for_model`; the size of one unit, per channel.
    """

    norm: Norm
    epsilon: float
    domain: tuple[float, float] | None
    unit: Unit | None
    scale: tuple[float, ...] | None
    epsilons: tuple[float, ...]

    def __init__(
        self,
        norm: Norm | str,
        epsilon: Any,
        domain: Any = (0.0, 1.0),
        unit: Unit | str | None = None,
        scale: Sequence[float] | None = None,
        epsilons: Sequence[float] | None = None,
    ) -> None:
        if not isinstance(norm, str) or norm.lower() not in list(Norm):
            raise InputError(f"norm: {norm!r} is not a norm; accepted: {', '.join(Norm)}")
        if unit is not None and unit not in list(Unit):
            raise InputError(f"unit: {unit!r} is not a unit of epsilon; accepted: {', '.join(Unit)}")
        radii = as_radii(epsilon)
        object.__setattr__(self, "norm", Norm(norm.lower()))
        object.__setattr__(self, "epsilon", max(radii))
        object.__setattr__(self, "domain", None if domain is None else as_domain(domain))
        object.__setattr__(self, "unit", None if unit is None else Unit(unit))
        object.__setattr__(self, "scale", None if scale is None else tuple(scale))
        object.__setattr__(self, "epsilons", radii if epsilons is None else as_radii(epsilons))

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
        return replace(self, epsilon=epsilon, epsilons=(epsilon,))

    def around(self, x: Tensor) -> LpBall:
        """The balls around x of shape (batch, channels, ...)."""
        if self.scale is None:
            raise InputError("threat model: the unit is not settled; call for_model(std) first (measure does)")
        if len(self.scale) not in (1, x.shape[1]):
            raise InputError(f"threat model: scale has {len(self.scale)} channels, the images have {x.shape[1]}")
        scale = torch.tensor(self.scale, dtype=x.dtype, device=x.device).reshape(-1, *([1] * (x.dim() - 2)))
        radius = torch.full((len(x),), self.epsilon, dtype=x.dtype, device=x.device)
        return LpBall(x, radius, Norm(self.norm), scale, self.domain)

    def __repr__(self) -> str:
        """As Python that makes it again."""
        radii = f"{self.epsilon!r}" if len(self.epsilons) == 1 else f"{list(self.epsilons)!r}"
        unit = "" if self.unit is None else f", unit={str(self.unit)!r}"
        scale = "" if self.scale is None else f", scale={self.scale!r}"
        return f"ThreatModel({str(self.norm)!r}, {radii}, domain={self.domain!r}{unit}{scale})"

    def __str__(self) -> str:
        inside = "unclipped" if self.domain is None else f"clipped to [{self.domain[0]:g}, {self.domain[1]:g}]"
        return f"{self.norm} epsilon {self.epsilon:g} ({self.unit or 'unit not settled'}), {inside}"


def as_domain(value: Any) -> tuple[float, float]:
    """The interval (low, high) of two numbers. Raises InputError for anything else."""
    try:
        low, high = (float(side) for side in value)
    except (TypeError, ValueError):
        raise InputError(f"domain: {value!r} is no interval; accepted: (low, high) such as (0, 1), or None") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(
            f"domain: {(low, high)} is empty or endless; accepted: finite (low, high), low < high, or None"
        )
    return low, high
