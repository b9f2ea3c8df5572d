"""SLIDE (Tramer & Boneh, Adversarial Training and Robustness for Multiple Perturbations, 2019)."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from calipers.attacks.attack import ATTACKS
from calipers.attacks.pgd import climb, from_starts
from calipers.attacks.query import Query
from calipers.core.norms import Norm, flat, per_sample
from calipers.core.sets import InputSet, LpBall


@dataclass(frozen=True)
class SLIDE:
    """PGD for l1 whose steps move the values of the largest gradients, all by the same amount (algorithm 1).

    quantile: of the gradient's magnitudes, from which on values move; at 1 it is plain steepest ascent in l1. Values
    that would leave the domain stay. steps, restarts, step_size: as in PGD.
    """

    steps: int = 100
    restarts: int = 2
    step_size: float | None = None
    quantile: float = 0.95

    @property
    def name(self) -> str:
        return "slide"

    @property
    def parameters(self) -> dict[str, Any]:
        return {**asdict(self), "step_size": self._length}

    @property
    def norms(self) -> frozenset[Norm]:
        return frozenset({Norm.L1})

    @property
    def _length(self) -> float:
        return 2.5 / self.steps if self.step_size is None else self.step_size

    def run(self, query: Query, seed: int) -> None:
        def move(sets: InputSet, x: Tensor, gradient: Tensor, k: int) -> Tensor:
            return self.step(sets, x, gradient)

        def run(active: Tensor, x: Tensor) -> None:
            climb(query, active, x, move, self.steps)

        from_starts(query, seed, "slide", self.restarts, run)

    def step(self, sets: InputSet, x: Tensor, gradient: Tensor) -> Tensor:
        """What is added to x."""
        assert isinstance(sets, LpBall)
        box = sets.box()
        free = torch.where(gradient > 0, x < box.upper, x > box.lower)
        gradient = sets.scale * gradient * free
        least = torch.quantile(flat(gradient.abs()), self.quantile, dim=1)
        signs = gradient.sign() * (gradient.abs() >= per_sample(least, gradient))
        moved = per_sample(Norm.L1(flat(signs)).clamp_min(1), signs)
        return self._length * per_sample(sets.radius, signs) * sets.scale * signs / moved


ATTACKS.add("slide")(SLIDE())
