"""Anisotropic total variation (Beck & Teboulle 2009, fast gradient projection of the dual problem)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.core.errors import InputError
from calipers.core.norms import flat, per_sample


@dataclass(frozen=True)
class TotalVariationProx:
    """The sum of |differences| of neighbours along every axis of the image, channel by channel.

    It ends, per sample, once the duality gap is at most `tolerance` of the objective, or after `iterations` steps; the
    result is then within sqrt(2 gap) of the minimiser. Inputs are (batch, channels, *positions).
    """

    tolerance: float = 1e-5
    iterations: int = 2000
    convex: ClassVar[bool] = True

    def value(self, u: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
        return torch.stack([flat(part).abs().sum(-1) for part in differences(u)]).sum(0)

    def __call__(self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"]) -> Float[Tensor, "batch *shape"]:
        # From half the sum of deviations on the answer is the mean of the channel; larger weights would only slow down.
        deviation = (u - u.mean(tuple(range(2, u.dim())), keepdim=True)).abs()
        mu = torch.minimum(mu, flat(deviation).sum(-1) / 2)
        dual = [torch.zeros_like(part) for part in differences(u)]
        ahead, best, momentum = dual, u.clone(), 1.0
        active = torch.ones_like(mu, dtype=torch.bool)
        step = 1 / (4 * len(dual))
        for count in range(self.iterations):
            z = u - adjoint(ahead, u)
            limits = [per_sample(mu, part) for part in dual]
            new = [
                torch.minimum(torch.maximum(a + step * part, -limit), limit)
                for a, part, limit in zip(ahead, differences(z), limits, strict=True)
            ]
            following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = [n + (momentum - 1) / following * (n - d) for n, d in zip(new, dual, strict=True)]
            dual, momentum = new, following
            if count % 10 == 9 or count == self.iterations - 1:
                z = u - adjoint(dual, u)
                best = torch.where(per_sample(active, u), z, best)
                active = active & ~self._converged(z, u, mu, dual)
                if not bool(active.any()):
                    break
        return best

    def _converged(self, z: Tensor, u: Tensor, mu: Tensor, dual: list[Tensor]) -> Tensor:
        variation = mu * self.value(z)
        paired = sum(flat(d * part).sum(-1) for d, part in zip(dual, differences(z), strict=True))
        objective = variation + flat(z - u).square().sum(-1) / 2
        return variation - paired <= self.tolerance * objective


def differences(u: Tensor) -> list[Tensor]:
    """Neighbours' differences along every axis after the channels. Raises InputError if there is none."""
    if u.dim() < 3:
        raise InputError(f"total variation: inputs have shape {tuple(u.shape[1:])}; accepted: (channels, *positions)")
    return [u.diff(dim=axis) for axis in range(2, u.dim())]


def adjoint(parts: list[Tensor], like: Tensor) -> Tensor:
    """The adjoint of `differences`, of the shape of `like`: what flows into every position along the axes."""
    total = torch.zeros_like(like)
    for axis, part in enumerate(parts, start=2):
        length = part.shape[axis]
        total.narrow(axis, 1, length).add_(part)
        total.narrow(axis, 0, length).sub_(part)
    return total
