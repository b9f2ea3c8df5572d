"""DDN (Rony et al., Decoupling Direction and Norm for Efficient Gradient-Based L2 Adversarial Attacks, 2019)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.attacks.losses import log_odds
from calipers.attacks.minimum_norm import MINIMUM_NORM_ATTACKS
from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.primal_dual.schedule import Decay, StepRate, lengths
from calipers.attacks.recorded import Recorded
from calipers.attacks.solver import solve
from calipers.core.distances import Distance
from calipers.core.norms import flat, per_sample


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

    def run(self, query: NearestQuery, seed: int) -> None:
        (steps,) = lengths(self.propagations, self.propagations)
        solve(_Descent(query, self, steps), steps)


@dataclass(frozen=True)
class _State:
    r: Float[Tensor, "batch *shape"]
    radius: Float[Tensor, " batch"]


@dataclass(frozen=True)
class _Descent:
    query: NearestQuery
    settings: DDN
    steps: int

    def init(self) -> _State:
        center = self.query.problem.center
        radius = torch.full_like(self.query.best_distance, self.settings.radius * self._width)
        return _State(torch.zeros_like(center), radius)

    def step(self, state: _State, k: int) -> _State:
        problem, settings = self.query.problem, self.settings
        # The step is normalised, so any loss with the gradient direction of the cross-entropy will do.
        rows, gradient = self.query.gradient(problem.perturbed(state.r), self.query.everyone, log_odds)
        rate = StepRate(settings.step, settings.step / 100, Decay.COSINE).at(k, self.steps) * self._width
        r = state.r + rate * _unit(problem.scale * gradient)
        radius = state.radius * torch.where(rows.amin(1) <= 0, 1 - settings.gamma, 1 + settings.gamma)
        return _State(problem.clip(per_sample(radius, r) * _unit(r)), radius)

    def finish(self, state: _State) -> _State:
        self.query.margins(self.query.problem.perturbed(state.r), self.query.everyone)
        return state

    @property
    def _width(self) -> float:
        return float(self.query.problem.width.max())


def _unit(r: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
    return r / per_sample(flat(r).norm(dim=1).clamp_min(torch.finfo(r.dtype).tiny), r)


MINIMUM_NORM_ATTACKS.add("ddn")(DDN)
