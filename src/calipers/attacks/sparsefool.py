"""SparseFool (Modas et al., SparseFool: a few pixels make a big difference, 2019)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from calipers.attacks.deepfool import step_to_boundary
from calipers.attacks.losses import smallest_margin
from calipers.attacks.minimum_norm import MINIMUM_NORM_ATTACKS
from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.recorded import Recorded
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.norms import Norm, flat, per_sample
from calipers.core.problem import MinimumNormProblem

# DeepFool's steps towards the boundary, at most, within one step of the attack.
_INNER = 50


@dataclass(frozen=True)
class SparseFool(Recorded):
    """DeepFool in l2 finds a boundary point and the normal there; a sparse step reaches that plane (algorithm 2).

    Samples drop out once broken, so the budget is seldom used up. Every point is a share `overshoot` beyond the sum of
    the steps, and so is DeepFool's.

    propagations: the budget, the pass at the centre included. steps: at most. control: the paper's lambda, at least 1:
    how much further than DeepFool's point the plane lies; more breaks surely, with more values changed. The normal is
    taken at DeepFool's point. Raises InputError when run if the budget has no room for one step.
    """

    name: ClassVar[str] = "sparsefool"
    distances: ClassVar[frozenset[Distance]] = frozenset({Distance.L1})

    propagations: int
    steps: int = 20
    control: float = 1.0
    overshoot: float = 0.02

    def __post_init__(self) -> None:
        if self.control < 1:
            raise InputError(f"SparseFool: control {self.control:g}; accepted: 1 or more")

    def run(self, query: NearestQuery, seed: int) -> None:
        if self.propagations < 1 + _cost(query):
            raise InputError(
                f"SparseFool: {self.propagations} propagations for {_cost(query) - 4} rows; "
                f"accepted: {1 + _cost(query)} or more, for the centre and one step"
            )
        beyond = 1 + self.overshoot
        active = query.everyone
        u = torch.zeros_like(query.problem.center)
        for _ in range(self.steps):
            left = self._affordable(query, active)
            active, u = active[left], u[left]
            if not len(active):
                return
            problem = query.problem[active]
            way, normal = self._way_to_boundary(query, active, beyond * u)
            u = problem.clip(beyond * (u + sparse_step(problem, beyond * u, normal, self.control * way))) / beyond
            x = problem.perturbed(beyond * u)
            query.margins(x, active)
            # DeepFool's points may be broken too, but count only where they are nearer.
            left = query.best_distance[active] > problem.measure(x)
            active, u = active[left], u[left]

    def _way_to_boundary(
        self, query: NearestQuery, active: Int[Tensor, " active"], start: Float[Tensor, "active *shape"]
    ) -> tuple[Float[Tensor, "active *shape"], Float[Tensor, "active *shape"]]:
        """What DeepFool adds to `start`, in units of scale, and the gradient there of minus the smallest row."""
        beyond = 1 + self.overshoot
        way, normal = torch.zeros_like(start), torch.zeros_like(start)
        left = torch.arange(len(active), device=active.device)
        for _ in range(_INNER):
            left = left[self._affordable(query, active[left])]
            if not len(left):
                break
            problem, first = query.problem[active[left]], start[left]
            x = problem.perturbed(first + way[left])
            there = problem.clip(first + way[left] + beyond * step_to_boundary(query, x, active[left], Norm.L2))
            rows, gradient = query.gradient(problem.perturbed(there), active[left], smallest_margin)
            way[left], normal[left] = there - first, gradient
            left = left[rows.amin(1) > 0]
        return way, normal

    def _affordable(self, query: NearestQuery, active: Int[Tensor, " active"]) -> Tensor:
        """Whether each instance has enough left for a step of DeepFool, the normal, and a look at the result."""
        return 1 + query.spent[active] + _cost(query) <= self.propagations


def _cost(query: NearestQuery) -> int:
    """A forward pass and all rows backward; forward and backward for the normal; forward at the end."""
    return query.problem.specification.C.shape[1] + 4


def sparse_step(
    problem: MinimumNormProblem,
    start: Float[Tensor, "batch *shape"],
    normal: Float[Tensor, "batch *shape"],
    way: Float[Tensor, "batch *shape"],
) -> Float[Tensor, "batch *shape"]:
    """The l1-smallest step from `start` to the plane with this normal through `start + way`, inside the domain.

    The linear solver of the paper (algorithm 1) goes from the largest slope down and moves each value as far as the
    plane or the domain allows; here every value finds by a sum how much is left for it. Everything is in units of
    scale; `normal` is in units of the input. A plane behind `start` or parallel to it asks for no step.
    """
    slope = flat(problem.scale * normal)
    infinite = torch.full_like(start, torch.inf)
    room = torch.where(slope > 0, flat(problem.clip(infinite) - start), flat(start - problem.clip(-infinite)))
    room = torch.where(slope == 0, torch.zeros_like(room), room.clamp_min(0))
    missing = (slope * flat(way)).sum(1).clamp_min(0)
    order = slope.abs().argsort(dim=1, descending=True, stable=True)
    steep, room = slope.abs().gather(1, order), room.gather(1, order)
    gain = torch.where(room > 0, steep * room, torch.zeros_like(room))
    before = torch.nn.functional.pad(gain.cumsum(1)[:, :-1], (1, 0))
    wanted = (per_sample(missing, before) - before).clamp_min(0) / steep.clamp_min(torch.finfo(steep.dtype).tiny)
    step = torch.zeros_like(slope).scatter(1, order, torch.minimum(wanted, room))
    return (step * slope.sign()).reshape(start.shape)


MINIMUM_NORM_ATTACKS.add("sparsefool")(SparseFool)
