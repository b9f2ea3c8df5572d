"""What a minimum-norm attack sees of a model."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from calipers.attacks.counted import CountedModel
from calipers.attacks.passes import improvements
from calipers.core.problem import MinimumNormProblem

# Units in the last place of the largest output.
_ROUNDING = 32


def rounding(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """How much of a margin the rounding of another batch may explain; 0 where an output is infinite."""
    return (_ROUNDING * torch.finfo(logits.dtype).eps * logits.abs().amax(1)).nan_to_num(0, 0)


class NearestQuery(CountedModel):
    """Access for minimum-norm attacks: of the queries in the domain that break the specification, the nearest is kept.

    clean_margin: the smallest specification row at every centre.

    The nearest inputs lie on the boundary, where the rounding of another batch could turn the answer. So a query counts
    only if it breaks the specification by more than `rounding`.
    """

    def __init__(self, model: nn.Module, problem: MinimumNormProblem, clean_margin: Float[Tensor, " batch"]) -> None:
        center = problem.center
        super().__init__(model, problem.specification, center, problem)
        self.problem = problem
        self.clean_margin = clean_margin
        self.best_distance = torch.full((len(problem),), torch.inf, dtype=center.dtype, device=center.device)

    @property
    def _domain(self) -> tuple[float, float] | None:
        return self.problem.domain

    def _inside(self, x: Tensor, active: Tensor) -> Tensor:
        return x

    def adopt(self, found: "NearestQuery", active: Int[Tensor, " active"]) -> None:
        """Take over the passes and results of another search for these instances."""
        self.forwards[active] += found.forwards
        self.backwards[active] += found.backwards
        nearer = found.best_distance < self.best_distance[active]
        self.best_distance[active[nearer]] = found.best_distance[nearer]
        if found._logits is not None:
            self._remember(active[nearer], found.best[nearer], found._logits[nearer])

    def _keep(self, x: Tensor, active: Tensor, logits: Tensor, rows: Tensor) -> None:
        slack = rounding(logits)
        # Only what breaks is worth measuring; at the boundary that is every other query.
        broken = (rows.amin(1) <= -slack).nonzero()[:, 0]
        if not len(broken):
            return
        x, active, logits = x[broken], active[broken], logits[broken]
        distance = self.problem.distance((x - self.problem.center[active]) / self.problem.scale)
        distance = distance.masked_fill(~self.problem.admits(x), torch.inf)
        chosen = improvements(distance, active, self.best_distance)
        self.best_distance[active[chosen]] = distance[chosen]
        self._remember(active[chosen], x[chosen], logits[chosen])
