"""The loop of DDN and FMN: normalised gradient steps, whose size is limited by a radius of each instance."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.attacks.losses import Loss
from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.primal_dual.schedule import Decay, StepRate, lengths
from calipers.attacks.solver import solve
from calipers.core.norms import flat, per_sample


@dataclass(frozen=True)
class Perturbed:
    """r: perturbations in units of the problem's scale. radius: of the sphere or ball of each."""

    r: Float[Tensor, "batch *shape"]
    radius: Float[Tensor, " batch"]


@dataclass(frozen=True)
class Look:
    """What step number `step` of `steps` has seen at x, the input of r.

    margin: the smallest row of the specification. gradient: of the loss, per unit of the input. length: of the step.
    """

    x: Float[Tensor, "batch *shape"]
    margin: Float[Tensor, " batch"]
    gradient: Float[Tensor, "batch *shape"]
    length: float
    step: int
    steps: int

    def falling(self, first: float, last: float) -> float:
        """What falls from `first` towards `last` along half a cosine."""
        return _falling(first, last, self.step, self.steps)


@runtime_checkable
class Rule(Protocol):
    """What an attack adds to the loop: its loss, its radii and its moves."""

    @property
    def propagations(self) -> int:
        """The budget of passes, that at the centre included."""

    @property
    def step(self) -> float:
        """The length of the first step, of the width of the domain; steps fall to a hundredth."""

    @property
    def loss(self) -> Loss:
        """What steps make larger."""

    def first_radius(self, query: NearestQuery) -> float:
        """The radius of all instances at first."""

    def moved(self, query: NearestQuery, state: Perturbed, look: Look) -> Perturbed:
        """The next perturbation, before it is clipped to the domain, and the next radius."""


def descend(query: NearestQuery, rule: Rule) -> None:
    """Spend the budget of the rule: a forward and a backward pass per step, and a forward pass at the end."""
    (steps,) = lengths(rule.propagations, rule.propagations)
    solve(_Descent(query, rule, steps), steps)


def size(r: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *ones"]:
    """The l2 norms, never 0, shaped to divide r."""
    return per_sample(flat(r).norm(dim=1).clamp_min(torch.finfo(r.dtype).tiny), r)


def _falling(first: float, last: float, step: int, steps: int) -> float:
    return StepRate(first, last, Decay.COSINE).at(step, steps)


@dataclass(frozen=True)
class _Descent:
    query: NearestQuery
    rule: Rule
    steps: int

    def init(self) -> Perturbed:
        radius = torch.full_like(self.query.best_distance, self.rule.first_radius(self.query))
        return Perturbed(torch.zeros_like(self.query.problem.center), radius)

    def step(self, state: Perturbed, k: int) -> Perturbed:
        problem, rule = self.query.problem, self.rule
        x = problem.perturbed(state.r)
        rows, gradient = self.query.gradient(x, self.query.everyone, rule.loss)
        length = _falling(rule.step, rule.step / 100, k, self.steps) * float(problem.width.max())
        state = rule.moved(self.query, state, Look(x, rows.amin(1), gradient, length, k, self.steps))
        return Perturbed(problem.clip(state.r), state.radius)

    def finish(self, state: Perturbed) -> Perturbed:
        self.query.margins(self.query.problem.perturbed(state.r), self.query.everyone)
        return state
