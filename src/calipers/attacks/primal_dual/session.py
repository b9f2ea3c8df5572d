"""The runs of one attack, one after the other: where each starts, what it inherits, what it aims at."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.primal_dual.dual import Dual
from calipers.attacks.primal_dual.game import Game, GameSettings, evenly, pull
from calipers.attacks.primal_dual.schedule import Extent, FromBest, FromCentre, FromRandom, Kind, Phase
from calipers.attacks.pruning import prune
from calipers.attacks.refine import refine
from calipers.attacks.solver import solve
from calipers.core.norms import per_sample
from calipers.core.problem import MinimumNormProblem
from calipers.core.seeds import derive_seed, generator

# How far a draw in multiples of the expected change reaches at most, in sizes of the domain.
FARTHEST = 0.2


@dataclass(frozen=True)
class Standing:
    """What the runs so far have come to.

    last: where they ended. best: the weights at the nearest query, or else those at the end. leader: the number of the
    kind that found the nearest; -1 where none found any. rivals: the rows of each, nearest boundary first, if rows are
    linear around the centre; None until it is asked for.
    """

    last: Float[Tensor, "batch *shape"]
    best: Dual
    leader: Int[Tensor, " batch"]
    rivals: Int[Tensor, "batch rows"] | None = None

    @classmethod
    def start(cls, query: NearestQuery) -> "Standing":
        everyone = query.everyone
        weights = Dual.start(torch.ones_like(query.best_distance))
        return cls(torch.zeros_like(query.problem.center), weights, torch.full_like(everyone, -1))

    def rival(self, run: Phase, active: Int[Tensor, " active"]) -> Int[Tensor, " active"] | None:
        """The row of every instance that a run aims at; None: the smallest."""
        if run.rival is None or self.rivals is None:
            return None
        return self.rivals[active, run.rival % self.rivals.shape[1]]


@dataclass(frozen=True)
class Session:
    """One attack on one batch of instances."""

    query: NearestQuery
    settings: GameSettings
    seed: int

    def after(self, number: int, standing: Standing) -> Standing:
        """Play the run of this number, on all instances."""
        run = self.settings.runs[number]
        affordable = self._cost <= run.steps // 5
        if run.rival is not None and standing.rivals is None and affordable:
            standing, run = replace(standing, rivals=self._rivals()), replace(run, steps=run.steps - self._cost)
        if isinstance(run, Phase):
            return self._played(number, run, self.query.everyone, standing)
        drawn = self.settings.drawn(number)
        choice = self._choice(number, drawn, standing.leader)
        for kind in drawn:
            active = (choice == kind).nonzero()[:, 0]
            if len(active):
                again = Phase(self.settings.kinds[kind], run.steps, run.rival)
                standing = self._played(number, again, active, standing)
        return standing

    @property
    def _cost(self) -> int:
        """How many steps the order of the rows takes off a run: a forward pass, and a backward pass per row."""
        return (self.query.problem.specification.d.shape[1] + 2) // 2

    def _rivals(self) -> Int[Tensor, "batch rows"]:
        problem = self.query.problem
        rows, slopes = self.query.jacobian(problem.center, self.query.everyone)
        pulls = torch.stack([pull(problem, problem.scale * slope) for slope in slopes.unbind(1)], 1)
        return (rows / pulls.clamp_min(torch.finfo(rows.dtype).tiny)).argsort(1)

    def _choice(self, number: int, kinds: list[int], leader: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """The kind of every instance: its leader; where that is none of them, they take turns."""
        turn = torch.full_like(leader, kinds[number % len(kinds)])
        return torch.where(torch.isin(leader, torch.tensor(kinds, device=leader.device)), leader, turn)

    def _played(self, number: int, run: Phase, active: Int[Tensor, " active"], standing: Standing) -> Standing:
        query, problem = self.query, self.query.problem[active]
        r, dual = self._start(number, run.kind, problem, active, standing)
        before = query.best_distance[active]
        ceiling = self.settings.ceiling
        clean = query.clean_margin[active, None]
        scale = torch.ones_like(clean) if ceiling is None else (clean / ceiling).clamp_min(1.0)
        rival = standing.rival(run, active)
        state = solve(Game(query, active, problem, self.settings, run, r, dual, scale, rival), run.steps)
        assert state.dual is not None
        assert state.best is not None
        improved = query.best_distance[active] < before
        best = state.best.where(improved, standing.best[active])
        kind = self.settings.kinds.index(run.kind)
        return replace(
            standing,
            last=standing.last.index_copy(0, active, state.r),
            best=standing.best.put(active, best.where(query.best_distance[active].isfinite(), state.dual)),
            leader=standing.leader.index_fill(0, active[improved], kind),
        )

    def _start(
        self, number: int, kind: Kind, problem: MinimumNormProblem, active: Int[Tensor, " active"], standing: Standing
    ) -> tuple[Float[Tensor, "active *shape"], Dual | None]:
        """Where a run starts, and its weights unless its first gradient decides them."""
        nearest = self.query.best_distance[active]
        match kind.start:
            case FromCentre():
                return torch.zeros_like(problem.center), None
            case FromBest():
                best, last = (self.query.best[active] - problem.center) / problem.scale, standing.last[active]
                return torch.where(per_sample(nearest.isfinite(), last), best, last), standing.best[active]
            case FromRandom(_, reach):
                far = torch.full_like(nearest, reach)
                if kind.extent is Extent.EXPECTED:
                    far = (reach * evenly(problem, nearest)).clamp_max(FARTHEST)
                drawn = problem.width * noise(problem, self.seed, number)
                return problem.clip(per_sample(far, drawn) * drawn), None


def play(query: NearestQuery, settings: GameSettings, seed: int) -> None:
    """All runs of an attack, one after the other."""
    session, standing = Session(query, settings, seed), Standing.start(query)
    for number in range(len(settings.runs)):
        standing = session.after(number, standing)
    refine(query, settings.refinements)
    prune(query, settings.pruning)


def noise(problem: MinimumNormProblem, seed: int, number: int) -> Float[Tensor, "batch *shape"]:
    """Values in [-1, 1] that depend on the seed, the sample and the number of the run, not on the batch."""
    shape, dtype = problem.center.shape[1:], problem.center.dtype
    seeds = [derive_seed(seed, "primal-dual", name, number) for name in problem.sample_id]
    draws = [torch.rand(shape, generator=generator(drawn), dtype=dtype) for drawn in seeds]
    return (2 * torch.stack(draws) - 1).to(problem.center.device)
