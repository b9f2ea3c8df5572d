"""FMN (Pintor et al., Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints, 2021)."""

import math
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.attacks.losses import Loss, smallest_margin
from calipers.attacks.minimum_norm import MINIMUM_NORM_ATTACKS
from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.normalised import Look, Perturbed, descend, size
from calipers.attacks.recorded import Recorded
from calipers.attacks.refine import project
from calipers.core.distances import Distance
from calipers.core.norms import flat


@dataclass(frozen=True)
class FMN(Recorded):
    """Normalised gradient steps, each projected on a ball that follows the boundary (algorithm 1).

    Ours: values at an edge of the domain do not count in steps that would take them out of it.

    propagations: the budget, the pass at the centre included. step: the first one, of the width of the domain; steps
    fall to a hundredth. gamma: by how much the ball shrinks and grows at first; it falls to a fiftieth.
    """

    distance: Distance
    propagations: int
    step: float = 1.0
    gamma: float = 0.05

    @property
    def name(self) -> str:
        return f"fmn-{self.distance}"

    @property
    def distances(self) -> frozenset[Distance]:
        return frozenset({self.distance})

    @property
    def loss(self) -> Loss:
        return smallest_margin

    def run(self, query: NearestQuery, seed: int) -> None:
        descend(query, self)

    def first_radius(self, query: NearestQuery) -> float:
        return math.inf if self.distance.norm is not None else 1.0

    def moved(self, query: NearestQuery, state: Perturbed, look: Look) -> Perturbed:
        problem = query.problem
        gradient = problem.scale * problem.inward(look.x, look.gradient)
        radius = self._radius(query, state, look.margin, gradient, look.falling(self.gamma, self.gamma / 50))
        return Perturbed(project(self.distance, state.r + look.length * gradient / size(gradient), radius), radius)

    def _radius(
        self, query: NearestQuery, state: Perturbed, margin: Tensor, gradient: Tensor, gamma: float
    ) -> Float[Tensor, " batch"]:
        """Smaller where x is broken. Else larger; with a norm, beyond the linearised boundary until one is found.

        The paper goes up to that boundary. Points on it, as all are for a linear classifier, do not count as broken.
        """
        nearest, norm = query.best_distance, self.distance.norm
        if norm is None:
            smaller = torch.minimum(state.radius - 1, (state.radius * (1 - gamma)).floor())
            larger = torch.maximum(state.radius + 1, (state.radius * (1 + gamma)).floor())
            return torch.where(margin <= 0, torch.minimum(smaller, nearest), larger).clamp_min(0)
        slope = norm.dual(flat(gradient)).clamp_min(torch.finfo(gradient.dtype).tiny)
        linear = norm(flat(state.r)) + margin.abs() / slope
        found = nearest.isfinite()
        larger = torch.where(found, state.radius, linear) * (1 + gamma)
        return torch.where(found & (margin <= 0), torch.minimum(state.radius * (1 - gamma), nearest), larger)


for _distance in Distance:
    MINIMUM_NORM_ATTACKS.add(f"fmn-{_distance}")(partial(FMN, _distance))
