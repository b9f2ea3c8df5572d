"""DDN (Rony et al., Decoupling Direction and Norm for Efficient Gradient-Based L2 Adversarial Attacks, 2019)."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from calipers.attacks.losses import Loss, log_odds
from calipers.attacks.minimum_norm import MINIMUM_NORM_ATTACKS
from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.normalised import Look, Perturbed, descend, size
from calipers.attacks.recorded import Recorded
from calipers.core.distances import Distance
from calipers.core.norms import per_sample


@dataclass(frozen=True)
class DDN(Recorded):
    """Normalised gradient steps, each put on a sphere that shrinks where x is broken and grows where not (algorithm 1).

    No quantisation of the pixels. propagations: the budget, the pass at the centre included. step, radius: the first
    ones, of the width of the domain; steps fall to a hundredth. gamma: by how much the sphere shrinks and grows.
    """

    name: ClassVar[str] = "ddn"
    distances: ClassVar[frozenset[Distance]] = frozenset({Distance.L2})

    propagations: int
    step: float = 1.0
    radius: float = 1.0
    gamma: float = 0.05

    @property
    def loss(self) -> Loss:
        # The step is normalised, so any loss with the gradient direction of the cross-entropy will do.
        return log_odds

    def run(self, query: NearestQuery, seed: int) -> None:
        descend(query, self)

    def first_radius(self, query: NearestQuery) -> float:
        return self.radius * float(query.problem.width.max())

    def moved(self, query: NearestQuery, state: Perturbed, look: Look) -> Perturbed:
        gradient = query.problem.scale * look.gradient
        r = state.r + look.length * (gradient / size(gradient))
        radius = state.radius * torch.where(look.margin <= 0, 1 - self.gamma, 1 + self.gamma)
        return Perturbed(per_sample(radius, r) * (r / size(r)), radius)


MINIMUM_NORM_ATTACKS.add("ddn")(DDN)
