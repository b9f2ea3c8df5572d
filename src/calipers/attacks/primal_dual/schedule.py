"""Runs of the primal-dual attacks: where they start, how many steps they take, how their rates fall."""

import math
from dataclasses import dataclass
from enum import StrEnum

from calipers.core.errors import InputError


class Decay(StrEnum):
    """How a rate goes from its first to its last value."""

    EXPONENTIAL = "exponential"
    LINEAR = "linear"
    COSINE = "cosine"


@dataclass(frozen=True)
class StepRate:
    """A rate that goes from `first` to `last` over a run."""

    first: float
    last: float
    decay: Decay

    def at(self, k: int, steps: int) -> float:
        """The rate of step k = 0 ... steps - 1; the last step has the last rate."""
        share = k / max(steps - 1, 1)
        if self.decay is Decay.EXPONENTIAL:
            return self.first * (self.last / self.first) ** share
        if self.decay is Decay.COSINE:
            share = (1 - math.cos(math.pi * share)) / 2
        return self.first + share * (self.last - self.first)


@dataclass(frozen=True)
class Fixed:
    """Weights that start at `ratio` = weight of the norm / weight of the misclassification."""

    ratio: float


@dataclass(frozen=True)
class Balanced:
    """Weights that start at `factor` times the ratio at which the linearised game rests on the boundary.

    There, half the gradient that the surrogate has at large margins balances the norm (its slope is half as steep at
    margin 0). So starts that are misclassified already, where the surrogate is flat, are pulled back as hard as others.
    """

    factor: float


@dataclass(frozen=True)
class FromCentre:
    """Start at no perturbation."""

    weights: Fixed | Balanced


@dataclass(frozen=True)
class FromRandom:
    """Start at a perturbation drawn from U[-reach, reach] in the kind's extent, cut to the domain."""

    weights: Fixed | Balanced
    reach: float


@dataclass(frozen=True)
class FromBest:
    """Start at the nearest query so far with the weights it had; where none was found, where the last run ended."""


class Extent(StrEnum):
    """What rates of the perturbation, and draws, are multiples of.

    DOMAIN: the size of the domain. EXPECTED: the change of every value in a perturbation that is spread evenly and as
    large as the nearest so far; where none was found, as large as the nearest is if rows are linear around the start.
    """

    DOMAIN = "domain"
    EXPECTED = "expected"


@dataclass(frozen=True)
class Kind:
    """How a run is played: its start, and how the rates of both players fall.

    extent: what the r-player's rates, and draws, are multiples of.
    """

    start: FromCentre | FromRandom | FromBest
    primal: StepRate
    dual: StepRate
    extent: Extent = Extent.DOMAIN


@dataclass(frozen=True)
class Phase:
    """One run: steps of one forward and one backward pass each, then a forward pass at the last iterate.

    rival: aim at one row alone, that whose boundary is so near (0: nearest) if rows are linear around the centre; None:
    at whichever row is smallest.
    """

    kind: Kind
    steps: int
    rival: int | None = None


@dataclass(frozen=True)
class Restart:
    """A random restart: a run of the kind that has found a sample's nearest adversarial example so far.

    Kinds that start from a draw are candidates; a sample whose nearest example comes from none of them takes the
    candidates in turn. steps, rival: as in Phase.
    """

    steps: int
    rival: int | None = None


def lengths(propagations: int, steps: int) -> tuple[int, ...]:
    """Steps of each run within a budget of forward and backward passes, of which the centre takes one.

    steps: what a run should have, as far as the budget can be divided so. Raises InputError for a budget without room
    for a single step.
    """
    if propagations < 4:
        raise InputError(f"budget: {propagations} propagations; accepted: 4 or more, for the centre and one step")
    left = propagations - 1
    runs = max(1, min(round(left / (2 * steps + 1)), left // 3))
    each, longer = divmod((left - runs) // 2, runs)
    return tuple(each + (number < longer) for number in range(runs))
