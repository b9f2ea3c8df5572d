"""What a fixed-epsilon attack sees of a model."""

import torch
from jaxtyping import Int
from torch import Tensor, nn

from calipers.attacks.counted import CountedModel
from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.passes import improvements
from calipers.core.norms import per_sample
from calipers.core.problem import Problem
from calipers.core.sets import LpBall

# What keeps a point inside a ball after rounding.
_SHORT = 1 - 1e-6


class Query(CountedModel):
    """Access for fixed-epsilon attacks: the query inside the set with the smallest margin is kept."""

    def __init__(self, model: nn.Module, problem: Problem) -> None:
        center = problem.input_set.center
        super().__init__(model, problem.specification, center, problem)
        self.problem = problem
        self.best_margin = torch.full((len(problem),), torch.inf, dtype=center.dtype, device=center.device)

    def unbroken(self) -> Int[Tensor, " active"]:
        """The instances for which no query has broken the specification yet."""
        return (self.best_margin > 0).nonzero()[:, 0]

    @property
    def _domain(self) -> tuple[float, float] | None:
        sets = self.problem.input_set
        return sets.domain if isinstance(sets, LpBall) else None

    def _inside(self, x: Tensor, active: Tensor) -> Tensor:
        sets = self.problem.input_set[active]
        if not isinstance(sets, LpBall):
            return sets.project(x)
        # Towards the centre, because a projection in l1 would put back what was moved.
        share = (sets.radius / sets.distance(x).clamp_min(torch.finfo(x.dtype).tiny)).clamp_max(1)
        return torch.where(per_sample(share < 1, x), sets.center + per_sample(share * _SHORT, x) * (x - sets.center), x)

    def adopt(self, found: NearestQuery, active: Int[Tensor, " active"]) -> None:
        """Take over the passes and results of a search for the nearest inputs of these instances."""
        self.forwards[active] += found.forwards
        self.backwards[active] += found.backwards
        near = found.best_distance.isfinite().nonzero()[:, 0]
        if len(near):
            whose = active[near]
            self._margins(self.problem.input_set[whose].project(found.best[near]), whose)

    def _keep(self, x: Tensor, active: Tensor, logits: Tensor, rows: Tensor) -> None:
        margin = rows.amin(1)
        margin = margin.masked_fill(~self.problem.input_set[active].contains(x), torch.inf)
        chosen = improvements(margin, active, self.best_margin)
        self.best_margin[active[chosen]] = margin[chosen]
        self._remember(active[chosen], x[chosen], logits[chosen])
