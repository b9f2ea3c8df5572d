"""DeepFool (Moosavi-Dezfooli et al., DeepFool: a simple and accurate method to fool deep neural networks, 2016)."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from calipers.attacks.minimum_norm import MINIMUM_NORM_ATTACKS
from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.recorded import Recorded
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.norms import Norm, flat, per_sample


@dataclass(frozen=True)
class DeepFool(Recorded):
    """Steps to the nearest boundary of the linearised rows, for l2 (algorithm 2) and linf (equation 11 with p = inf).

    A step costs a forward pass and a backward pass for every row, then a forward pass where it leads to. Samples drop
    out once broken, so the budget is seldom used up. Every point is a share `overshoot` beyond the sum of the steps, as
    in the authors' code. Ours: values at an edge of the domain do not count in steps that would take them out of it.

    propagations: the budget, the pass at the centre included. steps: at most. longest: of a step, in the distance;
    None: to the boundary. Raises InputError when run if the budget has no room for one step.
    """

    distance: Distance
    propagations: int
    steps: int = 50
    overshoot: float = 0.02
    longest: float | None = None

    def __post_init__(self) -> None:
        if self.distance not in (Distance.L2, Distance.LINF):
            raise InputError(f"DeepFool: distance {self.distance}; accepted: l2, linf")

    @property
    def name(self) -> str:
        return f"deepfool-{self.distance}"

    @property
    def distances(self) -> frozenset[Distance]:
        return frozenset({self.distance})

    def run(self, query: NearestQuery, seed: int) -> None:
        active = query.everyone
        r = torch.zeros_like(query.problem.center)
        for _ in range(self._affordable(query.problem.specification.C.shape[1])):
            problem = query.problem[active]
            beyond = 1 + self.overshoot
            x = problem.perturbed(beyond * r)
            r = problem.clip(beyond * (r + self._step(query, x, active))) / beyond
            query.margins(problem.perturbed(beyond * r), active)
            left = query.best_distance[active].isinf()
            active, r = active[left], r[left]
            if not len(active):
                return

    def _step(self, query: NearestQuery, x: Tensor, active: Tensor) -> Tensor:
        step = step_to_boundary(query, x, active, self._norm)
        if self.longest is None:
            return step
        size = self._norm(flat(step)).clamp_min(torch.finfo(step.dtype).tiny)
        return per_sample((self.longest / size).clamp_max(1), step) * step

    def _affordable(self, rows: int) -> int:
        cost = rows + 2
        if self.propagations < 1 + cost:
            raise InputError(
                f"DeepFool: {self.propagations} propagations for {rows} rows; accepted: {1 + cost} or more, "
                "for the centre and one step"
            )
        return min(self.steps, (self.propagations - 1) // cost)

    @property
    def _norm(self) -> Norm:
        return Norm.L2 if self.distance is Distance.L2 else Norm.LINF


def step_to_boundary(
    query: NearestQuery, x: Float[Tensor, "active *shape"], active: Int[Tensor, " active"], norm: Norm
) -> Float[Tensor, "active *shape"]:
    """One step of DeepFool from x, in units of scale: to the nearest of the hyperplanes on which a linearised row is 0.

    It costs a forward pass and a backward pass for every row. norm: l2 or linf, in which the step is the shortest.
    """
    problem = query.problem[active]
    rows, slopes = query.jacobian(x, active)
    slopes = -problem.scale * problem.inward(x[:, None], -slopes)
    size = norm.dual(slopes.flatten(2)).clamp_min(torch.finfo(rows.dtype).tiny)
    nearest = (rows.abs() / size).argmin(1)
    everyone = torch.arange(len(rows), device=rows.device)
    row, slope, size = rows[everyone, nearest], slopes[everyone, nearest], size[everyone, nearest]
    length, size = per_sample(row.abs() / size, slope), per_sample(size, slope)
    return -length * (slope / size if norm is Norm.L2 else slope.sign())


for _distance in (Distance.L2, Distance.LINF):
    MINIMUM_NORM_ATTACKS.add(f"deepfool-{_distance}")(partial(DeepFool, _distance))
