"""Sampling: what a simulation without any gradient finds. It is a yardstick, not a threat."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from calipers.attacks.attack import ATTACKS
from calipers.attacks.query import Query
from calipers.attacks.recorded import Recorded
from calipers.core.norms import Norm
from calipers.core.seeds import derive_seed, generator

# Points of one instance that are drawn at a time.
_BLOCK = 50


@dataclass(frozen=True)
class MonteCarlo(Recorded):
    """`draws` points per instance, uniform in its ball and clipped to the domain; an instance drops out once broken."""

    norms: ClassVar[frozenset[Norm]] = frozenset({Norm.LINF})

    draws: int

    @property
    def name(self) -> str:
        return f"monte-carlo-{self.draws}"

    def run(self, query: Query, seed: int) -> None:
        sets, names = query.problem.input_set, query.problem.sample_id
        for first in range(0, self.draws, _BLOCK):
            count = min(_BLOCK, self.draws - first)
            drawn_for = query.unbroken()
            if not len(drawn_for):
                return
            points = torch.stack(
                [
                    sets[torch.full((count,), i)].sample(generator(derive_seed(seed, "monte-carlo", names[i], first)))
                    for i in drawn_for.tolist()
                ]
            )
            for k in range(count):
                left = query.best_margin[drawn_for] > 0
                if bool(left.any()):
                    query.margins(points[left, k], drawn_for[left])


# Registered under the names of `BASELINES`, which no group of attacks has.
_REGISTERED = tuple(MonteCarlo(draws) for draws in (100, 1_000, 10_000))
BASELINES = tuple(one.name for one in _REGISTERED)
for _one in _REGISTERED:
    ATTACKS.add(_one.name)(_one)
