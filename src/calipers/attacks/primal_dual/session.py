"""The runs of one attack, one after the other: where each starts, what it inherits, what it aims at."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from calipers.attacks.primal_dual.dual import Dual
from calipers.attacks.primal_dual.game import Game, Settings, pull
from calipers.attacks.primal_dual.schedule import FromBest, FromRandom, Run
from calipers.attacks.query import NearestQuery
from calipers.attacks.refine import refine
from calipers.attacks.solver import solve
from calipers.core.norms import per_sample
from calipers.core.problem import MinimumNormProblem
from calipers.core.seeds import derive_seed, generator


@dataclass
class Session:
    """The runs of one attack so far.

    last: where they ended. best: the weights at the nearest query, or else those at the end. leader: the number of the
    run, or of the one it repeated, that found the nearest; -1 where none found any. rivals: the rows of each, nearest
    boundary first, if rows are linear around the centre; None until it is asked for.
    """

    query: NearestQuery
    settings: Settings
    seed: int

    def __post_init__(self) -> None:
        self.last = torch.zeros_like(self.query.problem.center)
        self.best = Dual.start(torch.ones_like(self.query.best_distance))
        self.leader = torch.full_like(self.query.everyone, -1)
        self.rivals: Int[Tensor, "batch rows"] | None = None

    def play(self, number: int) -> None:
        """The run of this number, on all instances."""
        run = self.settings.runs[number]
        if isinstance(run, Run):
            self._play(number, number, run, self.query.everyone, None)
            return
        steps = run.steps if run.rival is None else self._meet_rivals(run.steps)
        kinds = self.settings.drawn(number)
        choice = self._choice(number, sorted(kinds))
        for kind, repeated in kinds.items():
            active = (choice == kind).nonzero()[:, 0]
            if len(active):
                rival = None if run.rival is None or self.rivals is None else self.rivals[active, run.rival % self.rows]
                self._play(number, kind, replace(repeated, steps=steps), active, rival)

    @property
    def rows(self) -> int:
        """How many rows the specification has."""
        return self.query.problem.specification.d.shape[1]

    def _meet_rivals(self, steps: int) -> int:
        """Order the rows, unless that is done or takes most of a run; returns the steps that are left of it."""
        cost = (self.rows + 2) // 2
        if self.rivals is not None or cost > steps // 2:
            return steps
        problem = self.query.problem
        rows, slopes = self.query.jacobian(problem.center, self.query.everyone)
        pulls = torch.stack([pull(problem, problem.scale * slopes[:, j]) for j in range(self.rows)], 1)
        self.rivals = (rows / pulls.clamp_min(torch.finfo(rows.dtype).tiny)).argsort(1)
        return steps - cost

    def _choice(self, number: int, kinds: list[int]) -> Int[Tensor, " batch"]:
        """The kind of every instance: its leader; where that is none of them, they take turns."""
        turn = torch.full_like(self.leader, kinds[number % len(kinds)])
        known = torch.isin(self.leader, torch.tensor(kinds, device=turn.device))
        return torch.where(known, self.leader, turn)

    def _play(
        self, number: int, kind: int, run: Run, active: Int[Tensor, " active"], rival: Int[Tensor, " active"] | None
    ) -> None:
        query, problem = self.query, self.query.problem[active]
        r, dual = torch.zeros_like(problem.center), None
        if isinstance(run.start, FromBest):
            nearest, last = (query.best[active] - problem.center) / problem.scale, self.last[active]
            r = torch.where(per_sample(query.best_distance[active].isfinite(), last), nearest, last)
            dual = self.best[active]
        elif isinstance(run.start, FromRandom):
            r = problem.clip(run.start.reach * problem.width * noise(problem, self.seed, number))
        before = query.best_distance[active]
        ceiling = self.settings.ceiling
        clean = query.clean_margin[active, None]
        scale = torch.ones_like(clean) if ceiling is None else (clean / ceiling).clamp_min(1.0)
        state = solve(Game(query, active, problem, self.settings, run, r, dual, scale, rival), run.steps)
        assert state.dual is not None
        assert state.best is not None
        improved = query.best_distance[active] < before
        best = state.best.where(improved, self.best[active])
        self.best = self.best.put(active, best.where(query.best_distance[active].isfinite(), state.dual))
        self.last[active] = state.r
        self.leader[active[improved]] = kind


def play(query: NearestQuery, settings: Settings, seed: int) -> None:
    """All runs of an attack, one after the other."""
    session = Session(query, settings, seed)
    for number in range(len(settings.runs)):
        session.play(number)
    refine(query, settings.refinements)


def noise(problem: MinimumNormProblem, seed: int, number: int) -> Float[Tensor, "batch *shape"]:
    """Values in [-1, 1] that depend on the seed, the sample and the number of the run, not on the batch."""
    shape, dtype = problem.center.shape[1:], problem.center.dtype
    seeds = [derive_seed(seed, "primal-dual", name, number) for name in problem.sample_id]
    draws = [torch.rand(shape, generator=generator(drawn), dtype=dtype) for drawn in seeds]
    return (2 * torch.stack(draws) - 1).to(problem.center.device)
