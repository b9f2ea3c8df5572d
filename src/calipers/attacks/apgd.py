"""APGD (Croce & Hein, Reliable evaluation of adversarial robustness with an ensemble of diverse attacks, 2020)."""

from dataclasses import dataclass, fields, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from calipers.attacks.attack import ATTACKS
from calipers.attacks.losses import log_odds
from calipers.attacks.pgd import random_points, steepest_ascent
from calipers.attacks.query import Query
from calipers.attacks.recorded import Recorded
from calipers.attacks.solver import solve
from calipers.core.norms import Norm, per_sample
from calipers.core.seeds import derive_seed

MOMENTUM = 0.75


@dataclass(frozen=True)
class APGD(Recorded):
    """Projected ascent of the cross-entropy with momentum, whose steps halve when progress stalls (algorithm 1).

    steps: of every run. restarts: runs in all, each from a random point. progress: the share rho of the steps between
    two checkpoints that must go up. Instances drop out once broken.
    """

    name: ClassVar[str] = "apgd"
    norms: ClassVar[frozenset[Norm]] = frozenset({Norm.LINF, Norm.L2})

    steps: int = 100
    restarts: int = 1
    progress: float = 0.75

    def run(self, query: Query, seed: int) -> None:
        for restart in range(self.restarts):
            active = query.unbroken()
            if not len(active):
                return
            names = [query.problem.sample_id[i] for i in active.tolist()]
            seeds = [derive_seed(seed, "apgd", name, restart) for name in names]
            start = random_points(query.problem.input_set[active], seeds)
            solve(_Run(query, active, start, self), self.steps)


def checkpoints(steps: int) -> tuple[int, ...]:
    """The steps after which progress is judged: at first far apart, then at least 6 % of the run (section 3.1)."""
    last, share = 0.0, 0.22
    marks = []
    while share <= 1:
        marks.append(max(int(share * steps + 0.5), 1))
        last, share = share, share + max(share - last - 0.03, 0.06)
    return tuple(marks)


@dataclass(frozen=True)
class _State:
    """A run at a point x, one entry per active instance. length: of the next step, in radii."""

    active: Tensor
    x: Tensor
    previous: Tensor
    gradient: Tensor
    loss: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    length: Tensor
    rises: Tensor
    halved: Tensor
    checked_loss: Tensor

    @classmethod
    def start(cls, query: Query, active: Tensor, x: Tensor) -> "_State":
        # The log-odds rise with the cross-entropy, and its steps take the direction of the gradient alone.
        rows, gradient = query.gradient(x, active, log_odds)
        loss, none = log_odds(rows), torch.zeros_like(active)
        length = torch.full_like(loss, 2.0)
        return cls(active, x, x, gradient, loss, x, gradient, loss, length, none, none > 0, loss)

    def unbroken(self, query: Query) -> "_State":
        keep = query.best_margin[self.active] > 0
        return _State(*(getattr(self, field.name)[keep] for field in fields(self)))

    def moved(self, query: Query, momentum: float) -> "_State":
        sets = query.problem.input_set[self.active]
        ahead = per_sample(self.length, self.x) * steepest_ascent(sets, self.gradient, 1.0)
        ahead = sets.project(self.x + ahead)
        x = sets.project(self.x + momentum * (ahead - self.x) + (1 - momentum) * (self.x - self.previous))
        rows, gradient = query.gradient(x, self.active, log_odds)
        loss = log_odds(rows)
        better = loss > self.best_loss
        return replace(
            self,
            x=x,
            previous=self.x,
            gradient=gradient,
            loss=loss,
            best=torch.where(per_sample(better, x), x, self.best),
            best_gradient=torch.where(per_sample(better, x), gradient, self.best_gradient),
            best_loss=torch.where(better, loss, self.best_loss),
            rises=self.rises + (loss > self.loss),
        )

    def checked(self, wanted: float) -> "_State":
        """Half the step, from the best point on, where too few steps went up or the same step found nothing better."""
        stalled = (self.rises < wanted) | (~self.halved & (self.checked_loss >= self.best_loss))
        back = per_sample(stalled, self.x)
        return replace(
            self,
            x=torch.where(back, self.best, self.x),
            gradient=torch.where(back, self.best_gradient, self.gradient),
            loss=torch.where(stalled, self.best_loss, self.loss),
            length=torch.where(stalled, self.length / 2, self.length),
            rises=torch.zeros_like(self.rises),
            halved=stalled,
            checked_loss=self.best_loss,
        )


@dataclass(frozen=True)
class _Run:
    """One run from the points x, as a solver."""

    query: Query
    active: Int[Tensor, " active"]
    x: Float[Tensor, "active *shape"]
    settings: APGD

    def init(self) -> _State:
        return _State.start(self.query, self.active, self.x)

    def step(self, state: _State, k: int) -> _State:
        state = state.unbroken(self.query)
        if not len(state.active):
            return state
        state = state.moved(self.query, MOMENTUM if k else 1.0)
        marks = (0, *checkpoints(self.settings.steps))
        if k + 1 not in marks:
            return state
        return state.checked(self.settings.progress * (k + 1 - max(mark for mark in marks if mark <= k)))

    def finish(self, state: _State) -> _State:
        # The last step has queried its points.
        return state


ATTACKS.add("apgd")(APGD())
