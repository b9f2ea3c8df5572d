"""FMN (Pintor et al., Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints, 2021)."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.attacks.losses import smallest_margin
from calipers.attacks.minimum_norm import MINIMUM_NORM_ATTACKS
from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.primal_dual.schedule import Decay, StepRate, lengths
from calipers.attacks.recorded import Recorded
from calipers.attacks.refine import project
from calipers.attacks.solver import solve
from calipers.core.distances import Distance
from calipers.core.norms import flat, per_sample


@dataclass(frozen=True)
class FMN(Recorded):
    """Normalised gradient steps, each projected on a ball that follows the boundary (algorithm 1).

    Ours: values at an edge of the domain do not count in steps that would take them out of it.

    propagations: the budget, the pass at the centre included. step: the first one, of the width of the domain; steps
    fall to a hundredth. gamma: by how much the ball shrinks and grows at first; it falls to a fiftieth.
    """

    distance: Distance
    propagations: int
    step: float = 1.0
    gamma: float = 0.05

    @property
    def name(self) -> str:
        return f"fmn-{self.distance}"

    @property
    def distances(self) -> frozenset[Distance]:
        return frozenset({self.distance})

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
    settings: FMN
    steps: int

    def init(self) -> _State:
        radius = torch.inf if self.settings.distance.norm is not None else 1.0
        return _State(torch.zeros_like(self.query.problem.center), torch.full_like(self.query.best_distance, radius))

    def step(self, state: _State, k: int) -> _State:
        problem, settings = self.query.problem, self.settings
        x = problem.perturbed(state.r)
        rows, gradient = self.query.gradient(x, self.query.everyone, smallest_margin)
        gradient = problem.scale * problem.inward(x, gradient)
        gamma = StepRate(settings.gamma, settings.gamma / 50, Decay.COSINE).at(k, self.steps)
        radius = self._radius(state, rows.amin(1), gradient, gamma)
        rate = StepRate(settings.step, settings.step / 100, Decay.COSINE).at(k, self.steps) * float(problem.width.max())
        size = flat(gradient).norm(dim=1).clamp_min(torch.finfo(gradient.dtype).tiny)
        r = project(settings.distance, state.r + rate * gradient / per_sample(size, gradient), radius)
        return _State(problem.clip(r), radius)

    def _radius(self, state: _State, margin: Tensor, gradient: Tensor, gamma: float) -> Float[Tensor, " batch"]:
        """Smaller where x is broken. Else larger; with a norm, beyond the linearised boundary until one is found.

        The paper goes up to that boundary. Points on it, as all are for a linear classifier, do not count as broken.
        """
        nearest, norm = self.query.best_distance, self.settings.distance.norm
        if norm is None:
            smaller = torch.minimum(state.radius - 1, (state.radius * (1 - gamma)).floor())
            larger = torch.maximum(state.radius + 1, (state.radius * (1 + gamma)).floor())
            return torch.where(margin <= 0, torch.minimum(smaller, nearest), larger).clamp_min(0)
        slope = norm.dual(flat(gradient)).clamp_min(torch.finfo(gradient.dtype).tiny)
        linear = norm(flat(state.r)) + margin.abs() / slope
        found = nearest.isfinite()
        larger = torch.where(found, state.radius, linear) * (1 + gamma)
        return torch.where(found & (margin <= 0), torch.minimum(state.radius * (1 - gamma), nearest), larger)

    def finish(self, state: _State) -> _State:
        self.query.margins(self.query.problem.perturbed(state.r), self.query.everyone)
        return state


for _distance in Distance:
    MINIMUM_NORM_ATTACKS.add(f"fmn-{_distance}")(partial(FMN, _distance))
