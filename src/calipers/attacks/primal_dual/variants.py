"""The named settings of PDGD and PDPGD: of the thesis's experiments, of its text, and for a budget."""

from dataclasses import dataclass

from calipers.attacks.primal_dual.game import Settings, Surrogate
from calipers.attacks.primal_dual.primal import Player
from calipers.attacks.primal_dual.schedule import (
    Again,
    Balanced,
    Decay,
    Fixed,
    FromBest,
    FromCentre,
    FromRandom,
    Rate,
    Run,
    lengths,
)
from calipers.attacks.proximal import (
    L0Prox,
    L1Prox,
    L2Prox,
    LinfProx,
    MetricOperator,
    PixelLargest,
    ProximalOperator,
    TwoThirdsProx,
)
from calipers.core.distances import Distance

# The experiments count pixels and values by way of the l_{2/3} quasi-norm; the text by their own operators.
OPERATORS: dict[Distance, MetricOperator] = {
    Distance.LINF: LinfProx(),
    Distance.L2: L2Prox(),
    Distance.L1: L1Prox(),
    Distance.L0_PIXELS: PixelLargest(TwoThirdsProx()),
    Distance.L0_VALUES: TwoThirdsProx(),
}
COUNTS: dict[Distance, ProximalOperator] = {
    Distance.L0_PIXELS: PixelLargest(L0Prox()),
    Distance.L0_VALUES: L0Prox(),
}


def author(player: Player, rate: float, steps: int, starts: int, reach: float) -> Settings:
    """Section 5.4 as its code has it: every start runs `steps` steps, then the best is fine-tuned for as many."""
    weights, dual = Fixed(0.1), Rate(0.1, 0.01, Decay.LINEAR)
    primal = Rate(rate, rate / 100, Decay.EXPONENTIAL)
    runs = [Run(origin, steps, primal, dual) for origin in _origins(weights, starts, reach)]
    fine = Run(FromBest(), steps, Rate(rate / 100, rate / 100, Decay.LINEAR), Rate(0.01, 0.01, Decay.LINEAR))
    return Settings("author", player, Surrogate.SOFTPLUS, (*runs, fine), memory=0.9)


def text(player: Player, rate: float, steps: int, starts: int, reach: float) -> Settings:
    """Section 5.4 as its text has it. The memory of the average is not given there; it is that of the code."""
    weights, dual = Fixed(0.01), Rate(0.1, 0.1, Decay.LINEAR)
    primal = Rate(rate, rate / 100, Decay.LINEAR)
    runs = [Run(origin, steps, primal, dual) for origin in _origins(weights, starts, reach)]
    return Settings("text", player, Surrogate.HINGE, tuple(runs), memory=0.9)


@dataclass(frozen=True)
class Kind:
    """One kind of run within a budget.

    reach: of its random start; 0 is the centre. factor: of its balanced start weights. primal: its first and last rate,
    between which it falls exponentially. dual: the first rate of the weights, which falls to a tenth.
    """

    reach: float
    factor: float
    primal: tuple[float, float]
    dual: float

    def run(self, steps: int) -> Run:
        weights = Balanced(self.factor)
        start = FromRandom(weights, self.reach) if self.reach else FromCentre(weights)
        primal, dual = Rate(*self.primal, Decay.EXPONENTIAL), Rate(self.dual, self.dual / 10, Decay.LINEAR)
        return Run(start, steps, primal, dual)


# PDGD. First rates of 0.3 get out of where masked gradients lead back to the centre, and 0.1 does not; last ones of
# 0.001 are for distances as small as on CIFAR-10.
DESCENT = (Kind(0.0, 1.0, (0.3, 0.001), 0.1), Kind(0.2, 1.0, (0.3, 0.001), 0.1), Kind(0.2, 3.0, (0.3, 0.003), 0.1))
# PDPGD in linf and l2.
DENSE = (
    Kind(0.0, 1.0, (1.0, 0.006), 0.1),
    Kind(0.35, 1.0, (0.3, 0.006), 0.1),
    Kind(0.2, 1.0, (1.0, 0.006), 0.1),
    Kind(0.2, 0.3, (0.3, 0.006), 0.1),
)


def sparse(factor: float, close: float) -> tuple[Kind, ...]:
    """PDPGD in l1 and l0: a close start, one between, a far one for masked gradients, and a near one.

    close, factor: of the start weights of the first, and of the second and last. The close one comes first because no
    other is as good on CIFAR-10, at 100 and 200 passes.
    """
    return (
        Kind(0.1, close, (1.0, 0.05), 0.3),
        Kind(0.35, factor, (1.0, 0.05), 0.3),
        Kind(0.5, 0.2, (0.5, 0.05), 0.3),
        Kind(0.2, factor, (1.0, 0.05), 0.3),
    )


# Every other repetition aims at one of the nearest three classes: the smallest margin is not always the nearest.
RIVALS = (None, 0, None, 1, None, 2)


def within(
    propagations: int, steps: int, player: Player, kinds: tuple[Kind, ...], ceiling: float, pruning: int = 0
) -> Settings:
    """Ours: runs of about `steps` steps each, whose weights start balanced, so that they need not be looked for.

    The first run is of the first kind, which is all that a short budget has, the second of the second and so on; then
    every sample goes on with the kind that brought it nearest, for masked gradients want other starts than others.
    ceiling: with l2, l1 and l0 a low one helps wherever logits are large, in linf only where softmax saturates.
    pruning: passes of the budget that drop pixels from the best in the end.
    Runs longer than `steps` and fine-tuning the best gained less than more starts; a few passes to the boundary help
    where it is close.
    """
    refinements = min(8, propagations // 12)
    runs = [
        kinds[number].run(length) if number < len(kinds) else Again(length, RIVALS[(number - len(kinds)) % len(RIVALS)])
        for number, length in enumerate(lengths(propagations - refinements - pruning, steps))
    ]
    return Settings("budget", player, Surrogate.SOFTPLUS, tuple(runs), 0.5, refinements, ceiling, pruning)


def _origins(weights: Fixed, starts: int, reach: float) -> list[FromCentre | FromRandom]:
    return [FromRandom(weights, reach) if number else FromCentre(weights) for number in range(starts)]
