"""The high-confidence attack (Matyasko 2020, section 4.4, algorithm 1): up to a confidence in a target class.

Its step is written once: unrolled inside a training step, where gradients go through it, and one query after another
as a minimum-norm attack.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from calipers.attacks.minimum_norm import MINIMUM_NORM_ATTACKS
from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.recorded import Recorded
from calipers.attacks.solver import solve
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.norms import Norm, per_sample
from calipers.core.problem import Specification

# Under the square root of the norm; the root of it is the least length of a step. Those of the author's code.
_EPSILON = 1e-8


def step_towards(
    short: Float[Tensor, " batch"], slope: Float[Tensor, "batch *shape"], longest: float | None = None
) -> Float[Tensor, "batch *shape"]:
    """The step of line 7: to where log p_t is log C if it is linear, and 1e-4 further. Differentiable.

    Equation 4.8 lacks the factor w / ||w||; line 7 has it. short: log C - log p_t, of either sign, by which p_t falls
    short. slope: w, the gradient of log p_t. longest: at most so long in l2.
    """
    size = (_EPSILON + slope.flatten(1).square().sum(1)).sqrt()
    length = math.sqrt(_EPSILON) + short.abs() / size
    if longest is not None:
        length = length.clamp_max(longest)
    return per_sample(length / size, slope) * slope


def nearest_boundary(
    rows: Float[Tensor, "batch rows"], slopes: Float[Tensor, "batch rows *shape"]
) -> Int[Tensor, " batch"]:
    """The row whose zero is nearest in l2 if all are linear; slopes are their gradients."""
    size = Norm.L2(slopes.flatten(2)).clamp_min(torch.finfo(rows.dtype).tiny)
    return (rows.abs() / size).argmin(1)


@dataclass(frozen=True)
class Unrolled:
    """Algorithm 1 with a fixed number of steps, through which gradients reach the weights of the model.

    Steps are taken at detached points, so each depends on the weights through its own gradient and length alone. A step
    counts while p_t < C has held before; the gradient of that indicator is that of a sigmoid (straight-through). There
    is no domain. overshoot: the perturbation is so much longer than the sum of the steps.
    """

    steps: int = 5
    overshoot: float = 0.05

    def __call__(
        self,
        model: Callable[[Tensor], Tensor],
        x: Float[Tensor, "batch *shape"],
        targets: Int[Tensor, " batch"],
        confidence: Float[Tensor, " batch"],
    ) -> Float[Tensor, "batch *shape"]:
        """The inputs after the steps. model: from inputs to logits. confidence: C in (0, 1), without a gradient."""
        r, going = torch.zeros_like(x), torch.ones_like(confidence)
        for _ in range(self.steps):
            here = (x + (1 + self.overshoot) * r).detach().requires_grad_(True)
            log_p = model(here).log_softmax(1).gather(1, targets[:, None])[:, 0]
            (slope,) = torch.autograd.grad(log_p.sum(), here, create_graph=True)
            going = going * indicator(confidence - log_p.exp())
            r = r + per_sample(going, x) * step_towards(confidence.log() - log_p, slope)
        return x + (1 + self.overshoot) * r


def indicator(lacking: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """1 where a number is positive, else 0; its gradient is that of the sigmoid (Bengio et al. 2013, section 4)."""
    soft = torch.sigmoid(lacking)
    return soft + (soft.round() - soft).detach()


class LogOdds(nn.Module):
    """A classifier whose outputs are the log-odds log p_k / (1 - p_k) of every class: they tell p = 1 - 1e-9 from 1."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        same = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
        return logits - logits[:, None].masked_fill(same, -torch.inf).logsumexp(2)


def confident(targets: Int[Tensor, " batch"], log_odds: Float[Tensor, " batch"], classes: int) -> Specification:
    """The one row log C / (1 - C) - log p_t / (1 - p_t) > 0 on a model's `LogOdds`: broken iff p_t >= C (4.6).

    log_odds: of C.
    """
    rows = -torch.eye(classes, dtype=log_odds.dtype, device=targets.device)[targets]
    return Specification(rows[:, None], log_odds[:, None])


class Versus(nn.Module):
    """Two logits whose difference says how far a target is from a confidence, in log-odds: so far, and 0.

    The second is the larger iff the target has the confidence, so any attack that looks for another class than the
    first one solves (4.6). confidence: C in (0, 1). Raises InputError for others.
    """

    def __init__(self, model: nn.Module, target: int, confidence: float) -> None:
        super().__init__()
        self.odds, self.target, self.wanted = LogOdds(model), target, log_odds_of(confidence)

    def forward(self, x: Tensor) -> Tensor:
        lacking = self.wanted - self.odds(x)[:, self.target]
        return torch.stack([lacking, torch.zeros_like(lacking)], 1)


def log_odds_of(confidence: float) -> float:
    """The log-odds of a probability. Raises InputError for 0, 1 and what is beyond them."""
    if not 0 < confidence < 1:
        raise InputError(f"high-confidence attack: confidence {confidence:g}; accepted: above 0, below 1")
    return math.log(confidence / (1 - confidence))


# By how much instances are short of what they have to reach: from the rows of their specifications, and their indices.
Short = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Walk:
    """The steps of the attack as queries, inside the domain, until an instance is short of nothing and broken.

    steps: at most, at a forward and a backward pass each; then one forward pass. longest: of a step, in units of scale.
    overshoot: points are so far beyond the sum of the steps.
    """

    steps: int
    longest: float | None
    overshoot: float

    def run(self, query: NearestQuery, short: Short) -> None:
        """Walk from all centres."""
        solve(_Steps(query, short, self.longest, 1 + self.overshoot), self.steps)


@dataclass(frozen=True)
class _Left:
    """The instances that still walk, and the sums of their steps."""

    active: Int[Tensor, " active"]
    r: Float[Tensor, "active *shape"]


@dataclass(frozen=True)
class _Steps:
    """The walk as a solver. beyond: points are at so many times the sum of the steps."""

    query: NearestQuery
    short: Short
    longest: float | None
    beyond: float

    def init(self) -> _Left:
        return _Left(self.query.everyone, torch.zeros_like(self.query.problem.center))

    def step(self, state: _Left, k: int) -> _Left:
        if not len(state.active):
            return state
        active, x = state.active, self._points(state)
        rows, slope = self.query.gradient(x, active, lambda rows: -self.short(rows, active))
        lacking = self.short(rows, active)
        left = (lacking > 0) | self.query.best_distance[active].isinf()
        active, x, r, lacking, slope = active[left], x[left], state.r[left], lacking[left], slope[left]
        if not len(active):
            return _Left(active, r)
        problem = self.query.problem[active]
        slope = problem.scale * problem.inward(x, slope)
        step = step_towards(lacking, slope, self.longest)
        return _Left(active, problem.clip(self.beyond * (r + step)) / self.beyond)

    def finish(self, state: _Left) -> _Left:
        if len(state.active):
            self.query.margins(self._points(state), state.active)
        return state

    def _points(self, state: _Left) -> Float[Tensor, "active *shape"]:
        return self.query.problem[state.active].perturbed(self.beyond * state.r)


@dataclass(frozen=True)
class HighConfidence(Recorded):
    """Algorithm 1 towards the class whose boundary is nearest at the centre; whatever it breaks on its way counts.

    Probabilities are those among the classes of the rows and the label; of a target alone, between label and target.

    propagations: the budget, the pass at the centre included. confidence: C in (0, 1); None: the label's at the centre,
    or 1/2 if that is more, from where on no other class is above the target. steps, longest, overshoot: as in `Walk`,
    by default those of section 4.5. Raises InputError when run if the budget has no room for one step.
    """

    name: ClassVar[str] = "high-confidence"
    distances: ClassVar[frozenset[Distance]] = frozenset({Distance.L2})

    propagations: int
    confidence: float | None = None
    steps: int = 500
    longest: float | None = 0.1
    overshoot: float = 0.05

    def __post_init__(self) -> None:
        if self.confidence is not None:
            log_odds_of(self.confidence)

    def run(self, query: NearestQuery, seed: int) -> None:
        steps = self._affordable(query.problem.specification.C.shape[1])
        center = query.problem.center
        rows, slopes = query.jacobian(center, query.everyone)
        inward = query.problem.scale * query.problem.inward(center[:, None], -slopes)
        target = nearest_boundary(rows, inward)[:, None]
        wanted = F.logsigmoid(-rows.neg().logsumexp(1)).clamp_min(-math.log(2))
        if self.confidence is not None:
            wanted = torch.full_like(wanted, math.log(self.confidence))

        def short(rows: Tensor, active: Tensor) -> Tensor:
            total = torch.cat([torch.zeros_like(rows[:, :1]), -rows], 1).logsumexp(1)
            return wanted[active] + rows.gather(1, target[active])[:, 0] + total

        Walk(steps, self.longest, self.overshoot).run(query, short)

    def _affordable(self, rows: int) -> int:
        before = 3 + rows
        if self.propagations < before + 2:
            raise InputError(
                f"high-confidence attack: {self.propagations} propagations for {rows} rows; accepted: {before + 2} or "
                "more, for the centre, the nearest boundary and one step"
            )
        return min(self.steps, (self.propagations - before) // 2)


@dataclass(frozen=True)
class UntilConfident(Recorded):
    """Algorithm 1 where the question itself says which target needs which confidence: `confident`, and `Versus`.

    confidence: that of `Versus`; None where the specification has it. steps, longest, overshoot: as in `Walk`, by
    default those of section 4.5.
    """

    name: ClassVar[str] = "until-confident"
    distances: ClassVar[frozenset[Distance]] = frozenset({Distance.L2})

    confidence: float | None = None
    steps: int = 500
    longest: float | None = 0.1
    overshoot: float = 0.05

    def run(self, query: NearestQuery, seed: int) -> None:
        wanted = query.problem.specification.d[:, 0]
        if self.confidence is not None:
            wanted = torch.full_like(wanted, log_odds_of(self.confidence))

        def short(rows: Tensor, active: Tensor) -> Tensor:
            odds = wanted[active] - rows[:, 0]
            return F.softplus(-odds) - F.softplus(-wanted[active])

        Walk(self.steps, self.longest, self.overshoot).run(query, short)


MINIMUM_NORM_ATTACKS.add(HighConfidence.name)(HighConfidence)
