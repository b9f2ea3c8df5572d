"""Where inputs live, and what one unit of distance between them is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from calipers.core.errors import InputError


class RadiusUnit(StrEnum):
    """What one unit of epsilon is: a pixel value, or a pixel value divided by the model's standard deviation."""

    PIXEL = "pixel"
    NORMALISED = "normalised"


@dataclass(frozen=True)
class InputSpace:
    """Raw inputs and their unit of distance.

    domain: the interval every input value must stay in, or None. unit: may be left out only for models that do not
    normalise. scale: the size of one unit per channel in raw values, settled by `for_model`.
    """

    domain: tuple[float, float] | None = (0.0, 1.0)
    unit: RadiusUnit | None = None
    scale: tuple[float, ...] | None = None

    @classmethod
    def of(cls, domain: Any, unit: Any, scale: Sequence[float] | None = None) -> "InputSpace":
        """From what callers give. Raises InputError for what is no interval or no unit."""
        if unit is not None and unit not in list(RadiusUnit):
            raise InputError(f"unit: {unit!r} is not a unit of epsilon; accepted: {', '.join(RadiusUnit)}")
        try:
            settled = None if scale is None else tuple(float(size) for size in scale)
        except (TypeError, ValueError):
            settled = ()
        if settled is not None and not (settled and all(math.isfinite(size) and size > 0 for size in settled)):
            raise InputError(f"scale: {scale!r} is none; accepted: a finite number > 0 per channel, such as (0.5,)")
        return cls(None if domain is None else as_domain(domain), None if unit is None else RadiusUnit(unit), settled)

    def for_model(self, std: Sequence[float] | None, what: str = "a radius") -> "InputSpace":
        """Settle the unit for a model whose first layer divides channel c by std[c] (None: it does not divide).

        what: is ambiguous without a unit. Raises InputError where unit and model do not fit.
        """
        if std is None:
            if self.unit is RadiusUnit.NORMALISED:
                raise InputError(
                    "unit: 'normalised' needs a model whose first layer is calipers.models.Normalise; "
                    "this one has none, so use unit 'pixel'"
                )
            return self._settled(RadiusUnit.PIXEL, (1.0,))
        if self.unit is None:
            deviations = ", ".join(f"{value:g}" for value in std)
            raise InputError(
                f"unit: this model divides its input by {deviations}, so {what} is ambiguous; "
                "say unit='pixel' (radius of the raw values) or unit='normalised' (radius after the division)"
            )
        return self._settled(self.unit, (1.0,) if self.unit is RadiusUnit.PIXEL else tuple(std))

    def _settled(self, unit: RadiusUnit, scale: tuple[float, ...]) -> "InputSpace":
        """Raises InputError where another scale was asked for."""
        if self.scale not in (None, scale) and len({*(self.scale or ()), *scale}) > 1:
            said, meant = (", ".join(f"{size:g}" for size in sizes) for sizes in (self.scale, scale))
            raise InputError(
                f"scale: ({said}) was given, and unit {unit.value!r} of this model means ({meant}); leave the scale "
                "out, or give the radius in that unit"
            )
        return replace(self, unit=unit, scale=scale)

    def scale_of(self, x: Tensor) -> Tensor:
        """The size of one unit, as a tensor that broadcasts over one of the inputs x (batch, channels, ...)."""
        if self.scale is None:
            raise InputError("input space: the unit is not settled; call for_model(std) first (measure does)")
        if len(self.scale) not in (1, x.shape[1]):
            raise InputError(f"input space: scale has {len(self.scale)} channels, the images have {x.shape[1]}")
        return torch.tensor(self.scale, dtype=x.dtype, device=x.device).reshape(-1, *([1] * (x.dim() - 2)))

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "InputSpace":
        """From the JSON form of `dataclasses.asdict`."""
        return cls.of(raw["domain"], raw["unit"], raw["scale"])


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
