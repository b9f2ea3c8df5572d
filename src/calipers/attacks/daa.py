"""DAA, Lagrangian blob (Zheng, Chen & Ren, Distributionally Adversarial Attack, AAAI 2019)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.attacks.ascent import Ascent, Points
from calipers.attacks.attack import ATTACKS
from calipers.attacks.losses import log_odds
from calipers.attacks.pgd import random_points, steepest_ascent
from calipers.attacks.query import Query
from calipers.attacks.recorded import Recorded
from calipers.attacks.solver import solve
from calipers.core.norms import Norm
from calipers.core.seeds import derive_seed
from calipers.core.sets import InputSet


@dataclass(frozen=True)
class DAA(Recorded):
    """Steps along the signs of the loss's gradient plus the blob method's repulsion between particles.

    Deviations: the paper's particles are the images of a batch, each with its own label, so that an answer depends on
    the batch; here they are several starts of one image, all moved at once. The loss is the logarithm of the label's
    odds, whose gradient points as the cross-entropy's does and does not vanish. Repulsion falls to 0 over the first
    half of the steps, without which runs would not end at maxima.

    steps: of the run. starts: particles per image, the first at the centre, the others at random points. step_size: of
    the radius. repulsion: the weight c of the entropy at first. An image drops out with all its particles once broken.
    """

    name: ClassVar[str] = "daa"
    norms: ClassVar[frozenset[Norm]] = frozenset({Norm.LINF})

    steps: int = 200
    starts: int = 5
    step_size: float = 1 / 50
    repulsion: float = 1.0

    def run(self, query: Query, seed: int) -> None:
        def direction(points: Points, k: int) -> tuple[Tensor, tuple[Tensor, ...]]:
            _, gradient = query.gradient(points.x, points.active, log_odds)
            weight = self.repulsion * max(0.0, 1 - 2 * k / self.steps)
            particles = points.x.unflatten(0, (-1, self.starts)).flatten(2)
            return gradient + weight * repulsion(particles).reshape(points.x.shape), ()

        def move(sets: InputSet, x: Tensor, direction: Tensor, k: int) -> Tensor:
            return steepest_ascent(sets, direction, self.step_size)

        # The particles of an image come one after the other, and drop out together.
        start = Points(query.everyone.repeat_interleave(self.starts), self._starts(query, seed).flatten(0, 1))
        solve(Ascent(query, start, direction, move), self.steps)

    def _starts(self, query: Query, seed: int) -> Float[Tensor, "batch starts *shape"]:
        sets, names = query.problem.input_set, query.problem.sample_id
        drawn = [
            random_points(sets, [derive_seed(seed, "daa", name, start) for name in names])
            for start in range(1, self.starts)
        ]
        return torch.stack([sets.center, *drawn], dim=1)


def repulsion(x: Float[Tensor, "batch particles values"]) -> Float[Tensor, "batch particles values"]:
    """What drives particles apart: minus the gradient of sum_i log sum_j K(x_i, x_j).

    K(a, b) = exp(-||a - b||^2 / h), and h, which is not differentiated, is the median of the squared distances over
    log(particles + 1).
    """
    count = x.shape[1]
    if count < 2:
        return torch.zeros_like(x)
    squares = torch.cdist(x, x).square()
    pairs = torch.triu_indices(count, count, 1, device=x.device)
    median = squares[:, pairs[0], pairs[1]].median(1).values
    # Where most particles coincide any width will do: they are not driven anywhere.
    h = (median / math.log(count + 1)).clamp_min(torch.finfo(x.dtype).eps)[:, None, None]
    kernel = torch.exp(-squares / h)
    shares = kernel / kernel.sum(2, keepdim=True)
    weights = shares + shares.mT
    return 2 / h * (weights.sum(2, keepdim=True) * x - weights @ x)


ATTACKS.add("daa")(DAA())
