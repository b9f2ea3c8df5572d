"""The allowed perturbation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from calipers.core.errors import InputError
from calipers.core.norms import Norm
from calipers.core.radius import as_radii
from calipers.core.sets import LpBall
from calipers.core.space import InputSpace, RadiusUnit


@dataclass(frozen=True, init=False)
class ThreatModel:
    """Perturbations r with ||r / scale||_norm <= epsilon and x + r inside `domain`.

    norm: "linf", "l2" or "l1". epsilon: radius in `unit`, as a number or text such as "8/255". Of several, all are in
    `epsilons`, which `measure` goes through, and the largest is `epsilon`. domain: the interval every input value must
    stay in, or None. unit: "pixel" or "normalised"; it may be left out only for models that do not normalise.
    space: domain, unit and scale in one, instead of them.
    """

    norm: Norm
    epsilon: float
    epsilons: tuple[float, ...]
    space: InputSpace

    def __init__(
        self,
        norm: Norm | str,
        epsilon: Any,
        domain: Any = (0.0, 1.0),
        unit: RadiusUnit | str | None = None,
        scale: Sequence[float] | None = None,
        space: InputSpace | None = None,
    ) -> None:
        if not isinstance(norm, str) or norm.lower() not in list(Norm):
            raise InputError(f"norm: {norm!r} is not a norm; accepted: {', '.join(Norm)}")
        radii = as_radii(epsilon)
        object.__setattr__(self, "norm", Norm(norm.lower()))
        object.__setattr__(self, "epsilon", max(radii))
        object.__setattr__(self, "epsilons", radii)
        object.__setattr__(self, "space", InputSpace.of(domain, unit, scale) if space is None else space)

    @property
    def domain(self) -> tuple[float, float] | None:
        return self.space.domain

    @property
    def unit(self) -> RadiusUnit | None:
        return self.space.unit

    @property
    def scale(self) -> tuple[float, ...] | None:
        return self.space.scale

    def for_model(self, std: Sequence[float] | None) -> "ThreatModel":
        """Settle the unit for a model whose first layer divides channel c by std[c] (None: it does not divide)."""
        space = self.space.for_model(std, f"epsilon {self.epsilon:g}")
        return ThreatModel(self.norm, self.epsilons, space=space)

    def at(self, epsilon: float) -> "ThreatModel":
        """The same threat with another radius."""
        return ThreatModel(self.norm, epsilon, space=self.space)

    def around(self, x: Tensor) -> LpBall:
        """The balls around x of shape (batch, channels, ...)."""
        radius = torch.full((len(x),), self.epsilon, dtype=x.dtype, device=x.device)
        return LpBall(x, radius, self.norm, self.space.scale_of(x), self.domain)

    def __repr__(self) -> str:
        """As Python that makes it again."""
        radii = f"{self.epsilon!r}" if len(self.epsilons) == 1 else f"{list(self.epsilons)!r}"
        unit = "" if self.unit is None else f", unit={str(self.unit)!r}"
        scale = "" if self.scale is None else f", scale={self.scale!r}"
        return f"ThreatModel({str(self.norm)!r}, {radii}, domain={self.domain!r}{unit}{scale})"

    def __str__(self) -> str:
        inside = "unclipped" if self.domain is None else f"clipped to [{self.domain[0]:g}, {self.domain[1]:g}]"
        return f"{self.norm} epsilon {self.epsilon:g} ({self.unit or 'unit not settled'}), {inside}"


def as_threat(text: str, name: str = "threat", domain: tuple[float, float] | None = (0.0, 1.0)) -> ThreatModel:
    """A threat as people write it: "linf 0.1", with several radii "linf 1/255 8/255", with a unit "l2 0.5 pixel".

    name: of the argument, for the InputError that says what is wrong with it.
    """
    words = text.replace(",", " ").split()
    unit = words.pop() if words and words[-1].lower() in list(RadiusUnit) else None
    if len(words) < 2 or words[0].lower() not in list(Norm):
        raise InputError(
            f"{name}: {text!r} is no threat; accepted: a norm ({', '.join(Norm)}) and one or more radii, as in "
            f'"linf 0.1 8/255", and for a model that normalises its input a unit ({", ".join(RadiusUnit)})'
        )
    return ThreatModel(words[0], as_radii(words[1:], name), domain, unit and unit.lower())
