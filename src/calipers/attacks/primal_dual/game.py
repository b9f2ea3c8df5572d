"""The game itself: both players move at once, step after step, run after run."""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from calipers.attacks.primal_dual.adam import Moments
from calipers.attacks.primal_dual.dual import Dual
from calipers.attacks.primal_dual.primal import Player, Turn
from calipers.attacks.primal_dual.schedule import Balanced, Fixed, FromBest, FromRandom, Run
from calipers.attacks.query import NearestQuery
from calipers.attacks.refine import refine
from calipers.attacks.solver import solve
from calipers.core.errors import InputError
from calipers.core.norms import Norm, flat, per_sample
from calipers.core.problem import MinimumNormProblem
from calipers.core.seeds import derive_seed, generator


class Surrogate(StrEnum):
    """What the r-player makes small in place of [margin > 0]; the margin is the smallest row of the specification.

    SOFTPLUS: softplus(m) / ln 2, an upper bound: what the experiments use. HINGE: max(0, m); the text has max(0, -m),
    which is small where nothing is misclassified.
    """

    SOFTPLUS = "softplus"
    HINGE = "hinge"

    def __call__(self, rows: Float[Tensor, "active rows"]) -> Float[Tensor, " active"]:
        margin = rows.amin(1)
        return softplus(margin) / math.log(2) if self is Surrogate.SOFTPLUS else margin.clamp_min(0)


@dataclass(frozen=True)
class Settings:
    """Everything that decides a primal-dual attack.

    memory: of the moving average of the weights. refinements: forward passes that bring the best to the boundary.
    Raises InputError without runs, and if the first starts from the best of the runs before it.
    """

    name: str
    player: Player
    surrogate: Surrogate
    runs: tuple[Run, ...]
    memory: float
    refinements: int = 0

    def __post_init__(self) -> None:
        if not self.runs or isinstance(self.runs[0].start, FromBest):
            raise InputError(f"settings {self.name!r}: the first run starts from nothing; accepted: a centre or a draw")


@dataclass(frozen=True)
class State:
    """An iterate, the weights it is played against (None before the first gradient), and the weights of the best."""

    r: Float[Tensor, "batch *shape"]
    dual: Dual | None
    moments: Moments
    best: Dual | None


@dataclass(frozen=True)
class Game:
    """One run, as a solver. dual: the weights at the start, unless the run's own start decides them."""

    query: NearestQuery
    settings: Settings
    run: Run
    r: Float[Tensor, "batch *shape"]
    dual: Dual | None

    def init(self) -> State:
        return State(self.r, self.dual, Moments.start(self.settings.player.momentum, self.r), self.dual)

    def step(self, state: State, k: int) -> State:
        problem, run = self.query.problem, self.run
        before = self.query.best_distance.clone()
        rows, gradient = self.query.gradient(problem.perturbed(state.r), self.query.everyone, self.settings.surrogate)
        gradient = problem.scale * gradient
        dual = state.dual or Dual.start(self._ratio(gradient))
        best = dual.where(self.query.best_distance < before, state.best or dual)
        rate = run.primal.at(k, run.steps)
        r, moments = self.settings.player.move(Turn(problem, state.r, gradient, dual, rate, state.moments))
        # The margin is that before the move.
        dual = dual.step(rows.amin(1), run.dual.at(k, run.steps), self.settings.memory)
        return State(r, dual, moments, best)

    def finish(self, state: State) -> State:
        before = self.query.best_distance.clone()
        self.query.margins(self.query.problem.perturbed(state.r), self.query.everyone)
        assert state.dual is not None
        assert state.best is not None
        return replace(state, best=state.dual.where(self.query.best_distance < before, state.best))

    def _ratio(self, gradient: Tensor) -> Tensor:
        assert not isinstance(self.run.start, FromBest)
        match self.run.start.weights:
            case Fixed(ratio):
                return torch.full((len(gradient),), ratio, dtype=gradient.dtype, device=gradient.device)
            case Balanced(factor):
                return (factor * pull(self.query.problem, gradient) / 2).clamp_min(1e-6)


def pull(problem: MinimumNormProblem, gradient: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
    """How much a linear surrogate falls per unit of distance; for counts, per value moved across the whole domain."""
    norm = problem.distance.norm
    return Norm.LINF(flat(gradient * problem.width)) if norm is None else norm.dual(flat(gradient))


def play(query: NearestQuery, settings: Settings, seed: int) -> None:
    """All runs of an attack, one after the other."""
    problem = query.problem
    last = torch.zeros_like(problem.center)
    best: Dual | None = None
    for number, run in enumerate(settings.runs):
        r, dual = last, best
        found = query.best_distance.isfinite()
        if isinstance(run.start, FromBest):
            r = torch.where(per_sample(found, last), (query.best - problem.center) / problem.scale, last)
        else:
            r, dual = torch.zeros_like(last), None
        if isinstance(run.start, FromRandom):
            r = problem.clip(run.start.reach * problem.width * noise(problem, seed, number))
        before = query.best_distance.clone()
        state = solve(Game(query, settings, run, r, dual), run.steps)
        assert state.dual is not None
        assert state.best is not None
        improved = query.best_distance < before
        best = state.best.where(improved, best or state.best)
        best = best.where(query.best_distance.isfinite(), state.dual)
        last = state.r
    refine(query, settings.refinements)


def noise(problem: MinimumNormProblem, seed: int, number: int) -> Float[Tensor, "batch *shape"]:
    """Values in [-1, 1] that depend on the seed, the sample and the number of the run, not on the batch."""
    shape, dtype = problem.center.shape[1:], problem.center.dtype
    seeds = [derive_seed(seed, "primal-dual", name, number) for name in problem.sample_id]
    draws = [torch.rand(shape, generator=generator(drawn), dtype=dtype) for drawn in seeds]
    return (2 * torch.stack(draws) - 1).to(problem.center.device)
