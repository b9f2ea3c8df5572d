"""Convex combinations of convex functions (Combettes & Pesquet 2011, algorithm 10.31: parallel Dykstra)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.attacks.proximal.operator import ProximalOperator
from calipers.core.errors import InputError
from calipers.core.norms import flat, per_sample


@dataclass(frozen=True)
class ConvexCombination:
    """The operator of sum_i w_i f_i, from the operators of the f_i alone.

    weights: positive, of sum 1. It ends, per sample, once all parts agree up to `tolerance` of the size of u, or after
    `iterations` rounds. Raises InputError for a function that is not convex.
    """

    parts: tuple[ProximalOperator, ...]
    weights: tuple[float, ...]
    tolerance: float = 1e-5
    iterations: int = 2000
    convex: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if len(self.parts) != len(self.weights):
            counts = f"{len(self.parts)} functions and {len(self.weights)} weights"
            raise InputError(f"combination: {counts}; accepted: as many")
        if min(self.weights) <= 0 or abs(sum(self.weights) - 1) > 1e-9:
            raise InputError(f"combination: weights {self.weights}; accepted: positive numbers of sum 1")
        crooked = next((part for part in self.parts if not part.convex), None)
        if crooked is not None:
            raise InputError(f"combination: {type(crooked).__name__} is not convex; accepted: convex functions")

    def value(self, u: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
        values = [weight * part.value(u) for weight, part in zip(self.weights, self.parts, strict=True)]
        return torch.stack(values).sum(0)

    def __call__(self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"]) -> Float[Tensor, "batch *shape"]:
        points = [u for _ in self.parts]
        best, active = u, torch.ones_like(mu, dtype=torch.bool)
        size = self.tolerance * flat(u).norm(dim=-1)
        for _ in range(self.iterations):
            moved = [part(point, mu) for part, point in zip(self.parts, points, strict=True)]
            mean = torch.stack([weight * z for weight, z in zip(self.weights, moved, strict=True)]).sum(0)
            points = [mean + point - z for point, z in zip(points, moved, strict=True)]
            best = torch.where(per_sample(active, u), mean, best)
            apart = torch.stack([flat(z - mean).norm(dim=-1) for z in moved]).amax(0)
            active = active & (apart > size)
            if not bool(active.any()):
                break
        # Where 0, the corner of every norm, is only just the minimiser, the rounds come near it slowly.
        zero = torch.zeros_like(best)
        corner = self._objective(zero, u, mu) <= self._objective(best, u, mu)
        return torch.where(per_sample(corner, u), zero, best)

    def _objective(self, z: Tensor, u: Tensor, mu: Tensor) -> Float[Tensor, " batch"]:
        return mu * self.value(z) + flat(z - u).square().sum(-1) / 2
