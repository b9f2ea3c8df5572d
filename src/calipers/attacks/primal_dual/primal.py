"""The r-player: one step against fixed weights. Perturbations are in units of the problem's scale.

Adam's steps are fractions of the size of the domain, so that rates mean the same for inputs in [0, 1] and [0, 255].
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.attacks.primal_dual.dual import Dual
from calipers.attacks.proximal.operator import MetricOperator, ProximalOperator
from calipers.core.adam import Moments
from calipers.core.norms import Norm, flat, per_sample
from calipers.core.problem import MinimumNormProblem

Perturbation = Float[Tensor, "batch *shape"]


@dataclass(frozen=True)
class Turn:
    """What a player sees: r, the gradient of the surrogate there, the weights, the rates, and what it remembers."""

    problem: MinimumNormProblem
    r: Perturbation
    gradient: Perturbation
    dual: Dual
    rate: Float[Tensor, " batch"]
    moments: Moments


@runtime_checkable
class Player(Protocol):
    """How r moves."""

    @property
    def momentum(self) -> float:
        """Adam's beta_1; 0 for players that remember no direction."""

    def move(self, turn: Turn) -> tuple[Perturbation, Moments]:
        """The next r, whose input is in the domain, and the moments after this step."""


@dataclass(frozen=True)
class AdamPlayer:
    """PDGD: a step of Adam on lambda_0 ||r||_2 + lambda_1 surrogate(r), cut to the domain (algorithm 2)."""

    momentum: float = 0.9

    def move(self, turn: Turn) -> tuple[Perturbation, Moments]:
        r = turn.r
        length = Norm.L2(flat(r)).clamp_min(torch.finfo(r.dtype).tiny)
        pull = per_sample(turn.dual.average[:, 0] / length, r) * r
        moments = turn.moments.add(pull + per_sample(turn.dual.average[:, 1], r) * turn.gradient)
        rate = per_sample(turn.rate, r) * turn.problem.width
        return turn.problem.clip(r - rate * moments.direction / moments.metric), moments


@dataclass(frozen=True)
class InnerStepsPlayer:
    """PDPGD as the experiments run it: a step of Adam on the surrogate, then the operator in Adam's metric.

    The operator in that metric is approached by up to `rounds` proximal steps, per sample until the relative change is
    below `tolerance` (Melchior, Joseph & Moolekamp 2019).
    """

    operator: ProximalOperator
    momentum: float = 0.9
    rounds: int = 5
    tolerance: float = 1e-2

    def move(self, turn: Turn) -> tuple[Perturbation, Moments]:
        moments = turn.moments.add(turn.gradient)
        psi = moments.metric / turn.problem.width
        r = turn.r - per_sample(turn.rate, psi) * moments.direction / psi
        largest = flat(psi).amax(1)
        pull = psi / per_sample(largest, psi)
        mu = turn.dual.ratio * turn.rate / largest
        z, moving = r, torch.ones_like(mu, dtype=torch.bool)
        for _ in range(self.rounds):
            new = turn.problem.clip(self.operator(z - pull * (z - r), mu))
            change = Norm.L2(flat(new - z))
            z = torch.where(per_sample(moving, z), new, z)
            moving = moving & (change >= self.tolerance * Norm.L2(flat(new))) & (change > 0)
            if not bool(moving.any()):
                break
        return z, moments


@dataclass(frozen=True)
class MetricPlayer:
    """PDPGD with the operator in Adam's metric in closed form, which no number of inner steps improves."""

    operator: MetricOperator
    momentum: float

    def move(self, turn: Turn) -> tuple[Perturbation, Moments]:
        moments = turn.moments.add(turn.gradient)
        # A step of a rate in a metric is a step of rate 1 in the metric divided by it.
        psi = moments.metric / (per_sample(turn.rate, turn.r) * turn.problem.width)
        r = turn.r.addcdiv(moments.direction, psi, value=-1.0)
        return turn.problem.clip(self.operator.in_metric(r, turn.dual.ratio, psi)), moments


@dataclass(frozen=True)
class GradientPlayer:
    """PDPGD as the text has it: a plain gradient step, then the operator once (algorithm 3)."""

    operator: ProximalOperator
    momentum: float = 0.0

    def move(self, turn: Turn) -> tuple[Perturbation, Moments]:
        r = turn.r - per_sample(turn.rate, turn.r) * turn.gradient
        return turn.problem.clip(self.operator(r, turn.rate * turn.dual.ratio)), turn.moments
