"""The named settings of PDGD and PDPGD: of the thesis's experiments, of its text, and for a budget."""

from calipers.attacks.primal_dual.game import Settings, Surrogate
from calipers.attacks.primal_dual.primal import Player
from calipers.attacks.primal_dual.schedule import (
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


def within(
    propagations: int, steps: int, player: Player, primal: Rate, dual: Rate, factors: tuple[float, ...]
) -> Settings:
    """Ours: runs of about `steps` steps each, whose weights start balanced, so that they need not be looked for.

    Tuned on two MNIST networks, from 50 to 1,000 propagations. Beyond 35 to 70 steps more starts gained more than
    longer runs, and fine-tuning the best gained less than either; a few passes to the boundary help where it is close.
    """
    refinements = min(8, propagations // 12)
    runs = []
    for number, length in enumerate(lengths(propagations - refinements, steps)):
        weights = Balanced(factors[number % len(factors)])
        runs.append(Run(FromRandom(weights, 0.2) if number else FromCentre(weights), length, primal, dual))
    return Settings("budget", player, Surrogate.SOFTPLUS, tuple(runs), memory=0.5, refinements=refinements)


def _origins(weights: Fixed, starts: int, reach: float) -> list[FromCentre | FromRandom]:
    return [FromRandom(weights, reach) if number else FromCentre(weights) for number in range(starts)]
