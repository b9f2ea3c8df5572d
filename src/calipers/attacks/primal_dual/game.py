"""The game itself: both players move at once, step after step."""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import softplus

from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.primal_dual.dual import Dual
from calipers.attacks.primal_dual.primal import Player, Turn
from calipers.attacks.primal_dual.schedule import Balanced, Extent, Fixed, FromBest, FromRandom, Kind, Phase, Restart
from calipers.core.adam import Moments
from calipers.core.errors import InputError
from calipers.core.norms import Norm, flat
from calipers.core.problem import MinimumNormProblem


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

    @property
    def slope(self) -> float:
        """The slope at large margins."""
        return 1 / math.log(2) if self is Surrogate.SOFTPLUS else 1.0

    def steepness(self, margin: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The slope at a margin, as a share of the slope at large margins; never quite 0."""
        share = margin.sigmoid() if self is Surrogate.SOFTPLUS else (margin > 0).to(margin.dtype)
        return share.clamp_min(torch.finfo(margin.dtype).tiny)


@dataclass(frozen=True)
class GameSettings:
    """Everything that decides a primal-dual attack.

    memory: of the moving average of the weights. refinements: forward passes that bring the best to the boundary.
    ceiling: rows are divided so that no sample starts with a larger margin, for the softplus of large margins is a
    hinge, whose corner the players jump across. pruning: passes that drop pixels from the best.
    Raises InputError without runs, if the first starts from the best of the runs before it, and if a run is to be
    played again before any has started from a draw.
    """

    name: str
    player: Player
    surrogate: Surrogate
    runs: tuple[Phase | Restart, ...]
    memory: float
    refinements: int = 0
    ceiling: float | None = None
    pruning: int = 0

    def __post_init__(self) -> None:
        first = self.runs[0] if self.runs else None
        if first is None or (isinstance(first, Phase) and isinstance(first.kind.start, FromBest)):
            raise InputError(f"settings {self.name!r}: the first run starts from nothing; accepted: a centre or a draw")
        again = next((number for number, run in enumerate(self.runs) if isinstance(run, Restart)), None)
        if again is not None and not self.drawn(again):
            raise InputError(f"settings {self.name!r}: run {again} repeats nothing; accepted: after a run from a draw")

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of the runs, each once."""
        return self._kinds(len(self.runs))

    def drawn(self, before: int) -> list[int]:
        """The kinds among the first runs that start from a draw, by their number."""
        return [number for number, kind in enumerate(self._kinds(before)) if isinstance(kind.start, FromRandom)]

    def _kinds(self, before: int) -> tuple[Kind, ...]:
        return tuple(dict.fromkeys(run.kind for run in self.runs[:before] if isinstance(run, Phase)))


@dataclass(frozen=True)
class GameState:
    """An iterate, the weights it is played against, what its rates are multiples of, and the weights of the best.

    Weights and extent are None before the first gradient, which they may depend on. extent: in sizes of the domain.
    """

    r: Float[Tensor, "batch *shape"]
    dual: Dual | None
    moments: Moments
    best: Dual | None
    extent: Float[Tensor, " batch"] | None = None


@dataclass(frozen=True)
class Game:
    """One run on the active instances, as a solver.

    dual: the weights at the start, unless the run's start has them. scale: what the rows of each are divided by.
    rival: the one row of each that is played against; None: the smallest.
    """

    query: NearestQuery
    active: Int[Tensor, " active"]
    problem: MinimumNormProblem
    settings: GameSettings
    run: Phase
    r: Float[Tensor, "active *shape"]
    dual: Dual | None
    scale: Float[Tensor, "active 1"]
    rival: Int[Tensor, " active"] | None

    def init(self) -> GameState:
        return GameState(self.r, self.dual, Moments.start(self.settings.player.momentum, self.r), self.dual)

    def step(self, state: GameState, k: int) -> GameState:
        problem, kind, steps = self.problem, self.run.kind, self.run.steps
        before = self.query.best_distance[self.active]
        rows, gradient = self.query.gradient(problem.perturbed(state.r), self.active, self._loss)
        gradient = problem.scale * gradient
        margin = (self._asked(rows) / self.scale).amin(1)
        dual = state.dual or Dual.start(self._ratio(margin, gradient))
        extent = self._extent(before, margin, gradient) if state.extent is None else state.extent
        best = dual.where(self.query.best_distance[self.active] < before, state.best or dual)
        rate = kind.primal.at(k, steps) * extent
        r, moments = self.settings.player.move(Turn(problem, state.r, gradient, dual, rate, state.moments))
        # The margin is that before the move.
        dual = dual.step(margin, kind.dual.at(k, steps), self.settings.memory)
        return GameState(r, dual, moments, best, extent)

    def finish(self, state: GameState) -> GameState:
        before = self.query.best_distance[self.active]
        self.query.margins(self.problem.perturbed(state.r), self.active)
        assert state.dual is not None
        assert state.best is not None
        return replace(state, best=state.dual.where(self.query.best_distance[self.active] < before, state.best))

    def _loss(self, rows: Float[Tensor, "active rows"]) -> Float[Tensor, " active"]:
        return self.settings.surrogate(self._asked(rows) / self.scale)

    def _asked(self, rows: Float[Tensor, "active rows"]) -> Float[Tensor, "active asked"]:
        return rows if self.rival is None else rows.gather(1, self.rival[:, None])

    def _ratio(self, margin: Tensor, gradient: Tensor) -> Tensor:
        assert not isinstance(self.run.kind.start, FromBest)
        match self.run.kind.start.weights:
            case Fixed(ratio):
                return torch.full_like(margin, ratio)
            case Balanced(factor):
                return (factor * self._steepest(margin, gradient) / 2).clamp_min(1e-6)

    def _extent(self, nearest: Tensor, margin: Tensor, gradient: Tensor) -> Float[Tensor, " active"]:
        """What rates are multiples of, so that the first one is at most the size of the domain."""
        if self.run.kind.extent is Extent.DOMAIN:
            return torch.ones_like(margin)
        steepest = self._steepest(margin, gradient).clamp_min(torch.finfo(margin.dtype).tiny)
        linear = self.settings.surrogate.slope * margin.abs() / steepest
        expected = evenly(self.problem, torch.where(nearest.isfinite(), nearest, linear))
        return expected.clamp_max(1 / self.run.kind.primal.first)

    def _steepest(self, margin: Tensor, gradient: Tensor) -> Float[Tensor, " active"]:
        """How much the surrogate falls per unit of distance at large margins, if the margin is linear."""
        return pull(self.problem, gradient) / self.settings.surrogate.steepness(margin)


def pull(problem: MinimumNormProblem, gradient: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
    """How much a linear surrogate falls per unit of distance; for counts, per value moved across the whole domain."""
    norm = problem.distance.norm
    return Norm.LINF(flat(gradient * problem.width)) if norm is None else norm.dual(flat(gradient))


def evenly(problem: MinimumNormProblem, distance: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """The change of every value, in sizes of the domain, of perturbations of these distances that are spread evenly."""
    return distance / problem.distance(problem.width.expand_as(problem.center[:1]))
