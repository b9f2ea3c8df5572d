"""Several attacks in turn on one query, of which the best point counts: restarts and choices of a step size."""

from dataclasses import dataclass
from typing import Any

from calipers.attacks.attack import Attack
from calipers.attacks.minimum_norm import MinimumNormAttack
from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.query import Query
from calipers.core.distances import Distance
from calipers.core.norms import Norm


@dataclass(frozen=True)
class Several:
    """Fixed-epsilon attacks in turn, under one name. Those that drop broken instances do so for the next as well."""

    name: str
    attacks: tuple[Attack, ...]

    @property
    def parameters(self) -> dict[str, Any]:
        return {"attacks": [{"name": one.name, **one.parameters} for one in self.attacks]}

    @property
    def norms(self) -> frozenset[Norm]:
        return frozenset.intersection(*(one.norms for one in self.attacks))

    def run(self, query: Query, seed: int) -> None:
        for one in self.attacks:
            one.run(query, seed)


@dataclass(frozen=True)
class SeveralNearest:
    """Minimum-norm attacks in turn, under one name."""

    name: str
    attacks: tuple[MinimumNormAttack, ...]

    @property
    def parameters(self) -> dict[str, Any]:
        return {"attacks": [{"name": one.name, **one.parameters} for one in self.attacks]}

    @property
    def distances(self) -> frozenset[Distance]:
        return frozenset.intersection(*(one.distances for one in self.attacks))

    def run(self, query: NearestQuery, seed: int) -> None:
        for one in self.attacks:
            one.run(query, seed)
