"""The named settings of PDGD and PDPGD: of the thesis's experiments, of its text, and for a budget."""

from dataclasses import dataclass

from calipers.attacks.primal_dual.game import GameSettings, Surrogate
from calipers.attacks.primal_dual.primal import Player
from calipers.attacks.primal_dual.schedule import (
    Balanced,
    Decay,
    Extent,
    Fixed,
    FromBest,
    FromCentre,
    FromRandom,
    Kind,
    Phase,
    Restart,
    StepRate,
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


def author(player: Player, rate: float, steps: int, starts: int, reach: float) -> GameSettings:
    """Section 5.4 as its code has it: every start runs `steps` steps, then the best is fine-tuned for as many."""
    weights, dual = Fixed(0.1), StepRate(0.1, 0.01, Decay.LINEAR)
    primal = StepRate(rate, rate / 100, Decay.EXPONENTIAL)
    runs = [Phase(Kind(origin, primal, dual), steps) for origin in _origins(weights, starts, reach)]
    fine = Kind(FromBest(), StepRate(rate / 100, rate / 100, Decay.LINEAR), StepRate(0.01, 0.01, Decay.LINEAR))
    return GameSettings("author", player, Surrogate.SOFTPLUS, (*runs, Phase(fine, steps)), memory=0.9)


def text(player: Player, rate: float, steps: int, starts: int, reach: float) -> GameSettings:
    """Section 5.4 as its text has it. The memory of the average is not given there; it is that of the code."""
    weights, dual = Fixed(0.01), StepRate(0.1, 0.1, Decay.LINEAR)
    primal = StepRate(rate, rate / 100, Decay.LINEAR)
    runs = [Phase(Kind(origin, primal, dual), steps) for origin in _origins(weights, starts, reach)]
    return GameSettings("text", player, Surrogate.HINGE, tuple(runs), memory=0.9)


def balanced(
    reach: float, factor: float, primal: tuple[float, float], dual: float, extent: Extent = Extent.DOMAIN
) -> Kind:
    """One kind of run within a budget.

    reach: of its random start; 0 is the centre. factor: of its balanced start weights. primal: its first and last rate,
    between which it falls exponentially. dual: the first rate of the weights, which falls to a tenth.
    """
    weights = Balanced(factor)
    start = FromRandom(weights, reach) if reach else FromCentre(weights)
    return Kind(start, StepRate(*primal, Decay.EXPONENTIAL), StepRate(dual, dual / 10, Decay.LINEAR), extent)


@dataclass(frozen=True)
class Opening:
    """One of the first runs within a budget, whose steps the budget decides; rival as in Phase."""

    kind: Kind
    rival: int | None = None


def near(centre: tuple[float, float], drawn: tuple[float, float], far: tuple[Kind, ...]) -> tuple[Opening, ...]:
    """Runs whose rates suit the distance that is expected: from the centre, then from draws, every other at a rival.

    The nearest boundary if the network is linear comes first: the smallest margin often leads to one that is farther.
    centre, drawn: first and last rates. far: kinds with rates and draws of the domain, for gradients that lead back;
    they come last, where a budget has room for them.
    """
    first = balanced(0.0, 1.0, centre, 0.1, Extent.EXPECTED)
    again = balanced(3.0, 1.0, drawn, 0.1, Extent.EXPECTED)
    openings = Opening(first, 0), Opening(again), Opening(again, 1), Opening(again)
    return openings + tuple(Opening(kind) for kind in far)


# PDGD in l2.
DESCENT = near((7.0, 0.2), (20.0, 0.16), (balanced(0.2, 1.0, (0.3, 0.001), 0.1), balanced(0.2, 3.0, (0.3, 0.003), 0.1)))
# PDPGD in linf and l2.
DENSE = near(
    (5.5, 0.055),
    (8.0, 0.08),
    (
        balanced(0.35, 1.0, (0.3, 0.006), 0.1),
        balanced(0.2, 1.0, (1.0, 0.006), 0.1),
        balanced(0.2, 0.3, (0.3, 0.006), 0.1),
    ),
)


def sparse(factor: float, close: float) -> tuple[Opening, ...]:
    """PDPGD in l1 and l0: a close start, one between, a far one for masked gradients, and a near one.

    close, factor: of the start weights of the first, and of the second and last. The close one comes first because no
    other is as good on CIFAR-10, at 100 and 200 passes.
    """
    return (
        Opening(balanced(0.1, close, (1.0, 0.05), 0.3)),
        Opening(balanced(0.35, factor, (1.0, 0.05), 0.3)),
        Opening(balanced(0.5, 0.2, (0.5, 0.05), 0.3)),
        Opening(balanced(0.2, factor, (1.0, 0.05), 0.3)),
    )


# Every other repetition aims at one of the nearest three classes: the smallest margin is not always the nearest.
RIVALS = (None, 0, None, 1, None, 2)


def within(
    propagations: int, steps: int, player: Player, openings: tuple[Opening, ...], ceiling: float, pruning: int = 0
) -> GameSettings:
    """Ours: runs of about `steps` steps each, whose weights start balanced, so that they need not be looked for.

    The runs are the openings, as far as the budget goes; then every sample goes on with the kind that brought it
    nearest, for masked gradients want other starts than others.
    ceiling: with l2, l1 and l0 a low one helps wherever logits are large, in linf only where softmax saturates.
    pruning: passes of the budget that drop pixels from the best in the end.
    Runs longer than `steps` and fine-tuning the best gained less than more starts; a few passes to the boundary help
    where it is close.
    """
    refinements = min(8, propagations // 12)
    every = lengths(propagations - refinements - pruning, steps)
    runs: list[Phase | Restart] = [
        Phase(opening.kind, length, opening.rival) for opening, length in zip(openings, every, strict=False)
    ]
    later = every[len(openings) :]
    runs += [Restart(length, RIVALS[number % len(RIVALS)]) for number, length in enumerate(later)]
    return GameSettings("budget", player, Surrogate.SOFTPLUS, tuple(runs), 0.5, refinements, ceiling, pruning)


def _origins(weights: Fixed, starts: int, reach: float) -> list[FromCentre | FromRandom]:
    return [FromRandom(weights, reach) if number else FromCentre(weights) for number in range(starts)]
