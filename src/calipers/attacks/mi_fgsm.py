"""MI-FGSM (Dong et al., Boosting Adversarial Attacks with Momentum, 2018)."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from calipers.attacks.attack import ATTACKS
from calipers.attacks.losses import log_odds
from calipers.attacks.pgd import steepest_ascent
from calipers.attacks.query import Query
from calipers.attacks.recorded import Recorded
from calipers.core.norms import Norm, flat, per_sample


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
        x = query.problem.input_set.center
        active = query.everyone
        velocity = torch.zeros_like(x)
        for _ in range(self.steps):
            # Gradients are normalised, so any loss with the direction of the cross-entropy will do.
            margins, gradient = query.gradient(x, active, log_odds)
            size = Norm.L1(flat(gradient)).clamp_min(torch.finfo(gradient.dtype).tiny)
            velocity = self.decay * velocity + gradient / per_sample(size, gradient)
            keep = margins.amin(1) > 0
            active, x, velocity = active[keep], x[keep], velocity[keep]
            if not len(active):
                return
            sets = query.problem.input_set[active]
            x = sets.project(x + steepest_ascent(sets, velocity, 1 / self.steps))
        query.margins(x, active)


ATTACKS.add("mi-fgsm")(MIFGSM())
