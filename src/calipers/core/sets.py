"""Sets of inputs. Every set is a batch of sets of one kind, as a tensor is a batch of images."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from calipers.core.errors import InputError
from calipers.core.intervals import middle
from calipers.core.norms import Norm, flat, per_sample
from calipers.core.projections import project_l1, project_l2

Index = slice | Tensor | list[int]


@runtime_checkable
class InputSet(Protocol):
    """A batch of input sets. All tensors are (batch, *input shape)."""

    @property
    def center(self) -> Tensor:
        """A point of each set from which searches start."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Index) -> "InputSet": ...

    def contains(self, x: Tensor) -> Bool[Tensor, " batch"]:
        """Whether x lies in its set, up to the rounding of the set's own arithmetic."""

    def project(self, x: Tensor) -> Tensor:
        """A point of the set; x itself where x is in the set already."""

    def distance(self, x: Tensor) -> Float[Tensor, " batch"]:
        """How far x is from the centre, in the norm and unit of the set."""

    def sample(self, generator: torch.Generator) -> Tensor:
        """One random point of each set, with full support."""

    def box(self) -> "Box":
        """The smallest box around each set."""


@dataclass(frozen=True)
class Box:
    """Axis-aligned boxes lower <= x <= upper."""

    lower: Float[Tensor, "..."]
    upper: Float[Tensor, "..."]

    def __post_init__(self) -> None:
        if self.lower.shape != self.upper.shape:
            raise InputError(f"box: lower has shape {tuple(self.lower.shape)}, upper {tuple(self.upper.shape)}")
        if bool((self.lower > self.upper).any()):
            excess = float((self.lower - self.upper).max())
            raise InputError(f"box: lower exceeds upper by {excess:g}; it must be <= upper everywhere")

    @property
    def center(self) -> Tensor:
        return middle(self.lower, self.upper)

    def __len__(self) -> int:
        return len(self.lower)

    def __getitem__(self, index: Index) -> "Box":
        return Box(self.lower[index], self.upper[index])

    def contains(self, x: Tensor) -> Bool[Tensor, " batch"]:
        return flat((x >= self.lower) & (x <= self.upper)).all(-1)

    def project(self, x: Tensor) -> Tensor:
        return x.clamp(self.lower, self.upper)

    def distance(self, x: Tensor) -> Float[Tensor, " batch"]:
        return Norm.LINF(flat(x - self.center))

    def sample(self, generator: torch.Generator) -> Tensor:
        unit = torch.rand(self.lower.shape, generator=generator, dtype=self.lower.dtype).to(self.lower.device)
        return self.project(self.lower + unit * (self.upper - self.lower))

    def box(self) -> "Box":
        return self


@dataclass(frozen=True)
class LpBall:
    """Balls ||(x - center) / scale||_p <= radius, cut with the box `domain` if there is one.

    `scale` broadcasts over one input and carries the unit of epsilon: 1 in pixel units, the model's standard
    deviation per channel in normalised units.
    """

    center: Float[Tensor, "batch *shape"]
    radius: Float[Tensor, " batch"]
    norm: Norm
    scale: Float[Tensor, "..."]
    domain: tuple[float, float] | None

    def __len__(self) -> int:
        return len(self.center)

    def __getitem__(self, index: Index) -> "LpBall":
        return LpBall(self.center[index], self.radius[index], self.norm, self.scale, self.domain)

    def box(self) -> Box:
        reach = per_sample(self.radius, self.center) * self.scale
        return Box(self._clip(self.center - reach), self._clip(self.center + reach))

    def contains(self, x: Tensor) -> Bool[Tensor, " batch"]:
        inside = self.box().contains(x)
        if self.norm is Norm.LINF:
            return inside
        # A point is known to an ulp of each value, so its distance is known to the norm of these ulps.
        ulps = self.norm(flat((x.abs() + self.center.abs()) / self.scale))
        slack = 2 * torch.finfo(x.dtype).eps * (self.radius + ulps)
        return inside & (self.distance(x) <= self.radius + slack)

    def distance(self, x: Tensor) -> Float[Tensor, " batch"]:
        return self.norm(flat((x - self.center) / self.scale))

    def project(self, x: Tensor) -> Tensor:
        if self.norm is Norm.LINF:
            return self.box().project(x)
        # The centre lies in the domain, so clipping after the ball projection never leaves the ball.
        u = flat((x - self.center) / self.scale)
        u = project_l2(u, self.radius) if self.norm is Norm.L2 else project_l1(u, self.radius)
        return self.box().project(self.center + u.reshape(x.shape) * self.scale)

    def sample(self, generator: torch.Generator) -> Tensor:
        noise = torch.rand(self.center.shape, generator=generator, dtype=self.center.dtype)
        noise = (2 * noise - 1).to(self.center.device)
        reach = per_sample(self.radius, self.center)
        if self.norm is not Norm.LINF:
            # A uniform radius keeps points near the centre as likely as points near the surface.
            length = torch.rand(len(self), generator=generator, dtype=noise.dtype).to(noise.device)
            reach = reach * per_sample(length / self.norm(flat(noise)).clamp_min(1e-12), noise)
        return self.project(self.center + reach * noise * self.scale)

    def _clip(self, x: Tensor) -> Tensor:
        return x if self.domain is None else x.clamp(*self.domain)


def is_box(input_set: InputSet) -> bool:
    """Whether a set is the box around it."""
    return isinstance(input_set, Box) or (isinstance(input_set, LpBall) and input_set.norm is Norm.LINF)
