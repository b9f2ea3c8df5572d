"""PDGD and PDPGD (Matyasko, Towards Deep Neural Networks Robust to Adversarial Examples, 2020, chapter 5).

min ||r|| s.t. x + r is misclassified, as a game: the r-player makes lambda_0 ||r|| + lambda_1 surrogate(margin) small,
the lambda-player puts weight on misclassification while the margin is positive and takes it away otherwise. Each attack
has three named settings: `author`, what the thesis's experiments run; `text`, what its text says; `within`, ours, made
for a budget of passes.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from calipers.attacks.minimum_norm import MINIMUM_NORM_ATTACKS
from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.primal_dual.game import GameSettings
from calipers.attacks.primal_dual.primal import AdamPlayer, GradientPlayer, InnerStepsPlayer, MetricPlayer
from calipers.attacks.primal_dual.session import play
from calipers.attacks.primal_dual.variants import COUNTS, DENSE, DESCENT, OPERATORS, author, sparse, text, within
from calipers.core.distances import Distance


@dataclass(frozen=True)
class PDGD:
    """Primal-dual gradient descent, for l2 (algorithm 2)."""

    settings: GameSettings

    @classmethod
    def author(cls, rate: float = 1.0, steps: int = 500, starts: int = 1, reach: float = 0.5) -> "PDGD":
        return cls(author(AdamPlayer(), rate, steps, starts, reach))

    @classmethod
    def text(cls, rate: float = 0.1, steps: int = 500, starts: int = 1, reach: float = 0.5) -> "PDGD":
        return cls(text(AdamPlayer(), rate, steps, starts, reach))

    @classmethod
    def within(cls, propagations: int) -> "PDGD":
        return cls(within(propagations, 60, AdamPlayer(0.5), DESCENT, 5.0))

    @property
    def name(self) -> str:
        return "pdgd"

    @property
    def parameters(self) -> dict[str, Any]:
        return _parameters(self.settings)

    @property
    def distances(self) -> frozenset[Distance]:
        return frozenset({Distance.L2})

    def run(self, query: NearestQuery, seed: int) -> None:
        play(query, self.settings, seed)


@dataclass(frozen=True)
class PDPGD:
    """Primal-dual proximal gradient descent, for every distance (algorithm 3)."""

    distance: Distance
    settings: GameSettings

    @classmethod
    def author(
        cls, distance: Distance, rate: float = 1.0, steps: int = 500, starts: int = 1, reach: float = 0.5
    ) -> "PDPGD":
        return cls(distance, author(InnerStepsPlayer(OPERATORS[distance]), rate, steps, starts, reach))

    @classmethod
    def text(
        cls, distance: Distance, rate: float = 0.1, steps: int = 500, starts: int = 1, reach: float = 0.5
    ) -> "PDPGD":
        operator = COUNTS.get(distance, OPERATORS[distance])
        return cls(distance, text(GradientPlayer(operator), rate, steps, starts, reach))

    @classmethod
    def within(cls, distance: Distance, propagations: int) -> "PDPGD":
        operator = OPERATORS[distance]
        if distance in (Distance.LINF, Distance.L2):
            return cls(distance, within(propagations, 60, MetricPlayer(operator, 0.5), DENSE, 20.0))
        # Momentum and small weights on the norm would keep values alive that a sparse perturbation has to drop.
        player = MetricPlayer(operator, 0.0)
        # Two starts are worth more than one, unless that leaves fewer than 20 steps each.
        short = max(20, propagations // 4)
        if distance is Distance.L1:
            return cls(distance, within(propagations, min(36, short), player, sparse(0.2, 0.3), 5.0))
        pruning = propagations // 10
        return cls(distance, within(propagations, min(30, short), player, sparse(0.1, 0.2), 5.0, pruning))

    @property
    def name(self) -> str:
        return f"pdpgd-{self.distance}"

    @property
    def parameters(self) -> dict[str, Any]:
        return _parameters(self.settings)

    @property
    def distances(self) -> frozenset[Distance]:
        return frozenset({self.distance})

    def run(self, query: NearestQuery, seed: int) -> None:
        play(query, self.settings, seed)


def _parameters(settings: GameSettings) -> dict[str, Any]:
    return {
        "variant": settings.name,
        "player": repr(settings.player),
        "surrogate": str(settings.surrogate),
        "runs": [repr(run) for run in settings.runs],
        "memory": settings.memory,
        "refinements": settings.refinements,
        "ceiling": settings.ceiling,
        "pruning": settings.pruning,
    }


MINIMUM_NORM_ATTACKS.add("pdgd")(PDGD.within)
for _distance in Distance:
    MINIMUM_NORM_ATTACKS.add(f"pdpgd-{_distance}")(partial(PDPGD.within, _distance))
