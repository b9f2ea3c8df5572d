"""PGD with estimated gradients, as NES (Ilyas et al., Black-box Adversarial Attacks with Limited Queries, 2018)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from calipers.attacks.ascent import Ascent, Points
from calipers.attacks.attack import ATTACKS
from calipers.attacks.losses import smallest_margin
from calipers.attacks.pgd import steepest_ascent
from calipers.attacks.query import Query
from calipers.attacks.recorded import Recorded
from calipers.attacks.solver import solve
from calipers.core.norms import Norm, per_sample
from calipers.core.seeds import derive_seed, generator
from calipers.core.sets import InputSet, LpBall

NAME = "estimated-pgd"


@dataclass(frozen=True)
class EstimatedPGD(Recorded):
    """Projected steepest ascent from the centre, knowing the outputs alone: no gradient is asked of the model.

    A step goes along a running mean of estimates, each from antithetic Gaussian differences (algorithm 1) of the margin
    loss. It costs 2 * pairs + 1 forward passes. Points of the differences may leave the ball and the domain; those that
    do never count. Instances drop out once broken.

    steps: of the run. pairs: of opposite points per estimate. sigma: their deviation, in the unit of epsilon.
    step_size: of the radius. decay: the weight of the estimates before.
    """

    name: ClassVar[str] = NAME
    norms: ClassVar[frozenset[Norm]] = frozenset({Norm.LINF, Norm.L2})

    steps: int = 100
    pairs: int = 25
    sigma: float = 0.01
    step_size: float = 0.05
    decay: float = 0.9

    def run(self, query: Query, seed: int) -> None:
        def direction(points: Points, k: int) -> tuple[Tensor, tuple[Tensor, ...]]:
            query.margins(points.x, points.active)
            (mean,) = points.memory
            left = (query.best_margin[points.active] > 0).nonzero()[:, 0]
            if len(left):
                estimate = self.estimate(query, points.active[left], points.x[left], seed, k)
                mean = mean.index_copy(0, left, self.decay * mean[left] + (1 - self.decay) * estimate)
            return mean, (mean,)

        def move(sets: InputSet, x: Tensor, mean: Tensor, k: int) -> Tensor:
            return steepest_ascent(sets, mean, self.step_size)

        center = query.problem.input_set.center
        start = Points(query.everyone, center, (torch.zeros_like(center),))
        solve(Ascent(query, start, direction, move), self.steps)

    def estimate(
        self, query: Query, active: Int[Tensor, " active"], x: Float[Tensor, "active *shape"], seed: int, step: int
    ) -> Float[Tensor, "active *shape"]:
        """The gradient of the margin loss at x, smoothed by a Gaussian; draws depend on seed, sample and step alone."""
        sets = query.problem.input_set
        scale = sets.scale if isinstance(sets, LpBall) else x.new_ones(())
        draws = [generator(derive_seed(seed, NAME, query.problem.sample_id[i], step)) for i in active.tolist()]
        total = torch.zeros_like(x)
        for _ in range(self.pairs):
            u = torch.stack([torch.randn(x.shape[1:], generator=draw, dtype=x.dtype) for draw in draws]).to(x.device)
            points = torch.cat([x + self.sigma * scale * u, x - self.sigma * scale * u])
            above, below = smallest_margin(query.margins(points, torch.cat([active, active]))).chunk(2)
            total += per_sample(above - below, u) * u / scale
        return total / (2 * self.sigma * self.pairs)


ATTACKS.add(NAME)(EstimatedPGD())
