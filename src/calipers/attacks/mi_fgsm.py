"""MI-FGSM (Dong et al., Boosting Adversarial Attacks with Momentum, 2018)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from calipers.attacks.ascent import Ascent, Points
from calipers.attacks.attack import ATTACKS
from calipers.attacks.losses import log_odds
from calipers.attacks.pgd import steepest_ascent
from calipers.attacks.query import Query
from calipers.attacks.recorded import Recorded
from calipers.attacks.solver import solve
from calipers.core.norms import Norm, flat, per_sample
from calipers.core.sets import InputSet


@dataclass(frozen=True)
class MIFGSM(Recorded):
    """Steepest ascent along a sum of gradients of l1 norm 1 (algorithm 1); l2 as in section 3.3.

    steps: of 1/steps of the radius each. decay: the weight mu of the gradients before. Instances drop out once broken.
    """

    name: ClassVar[str] = "mi-fgsm"
    norms: ClassVar[frozenset[Norm]] = frozenset({Norm.LINF, Norm.L2})

    steps: int = 10
    decay: float = 1.0

    def run(self, query: Query, seed: int) -> None:
        def direction(points: Points, k: int) -> tuple[Tensor, tuple[Tensor, ...]]:
            # Gradients are normalised, so any loss with the direction of the cross-entropy will do.
            _, gradient = query.gradient(points.x, points.active, log_odds)
            size = Norm.L1(flat(gradient)).clamp_min(torch.finfo(gradient.dtype).tiny)
            velocity = self.decay * points.memory[0] + gradient / per_sample(size, gradient)
            return velocity, (velocity,)

        def move(sets: InputSet, x: Tensor, velocity: Tensor, k: int) -> Tensor:
            return steepest_ascent(sets, velocity, 1 / self.steps)

        center = query.problem.input_set.center
        start = Points(query.everyone, center, (torch.zeros_like(center),))
        solve(Ascent(query, start, direction, move), self.steps)


ATTACKS.add("mi-fgsm")(MIFGSM())
