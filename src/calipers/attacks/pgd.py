"""FGSM (Goodfellow et al. 2015) and PGD (Madry et al. 2018) in linf and l2."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.attacks.ascent import Ascent, Move, Points
from calipers.attacks.attack import ATTACKS
from calipers.attacks.losses import log_odds
from calipers.attacks.query import Query
from calipers.attacks.solver import solve
from calipers.core.norms import Norm, flat, per_sample
from calipers.core.seeds import derive_seed, generator
from calipers.core.sets import Box, InputSet, LpBall


def steepest_ascent(input_set: InputSet, gradient: Tensor, length: float) -> Tensor:
    """The step of size length * radius, in the set's norm, along which a linear loss grows fastest."""
    if isinstance(input_set, Box):
        return length * (input_set.upper - input_set.lower) / 2 * gradient.sign()
    assert isinstance(input_set, LpBall)
    reach = length * per_sample(input_set.radius, gradient) * input_set.scale
    if input_set.norm is Norm.LINF:
        return reach * gradient.sign()
    scaled = gradient * input_set.scale
    size = flat(scaled).norm(dim=1).clamp_min(torch.finfo(gradient.dtype).tiny)
    return reach * scaled / per_sample(size, gradient)


def random_points(input_set: InputSet, seeds: list[int]) -> Float[Tensor, "batch *shape"]:
    """One random point of each set; it depends on the set's own seed only, not on the batch around it."""
    return torch.cat([input_set[i : i + 1].sample(generator(seed)) for i, seed in enumerate(seeds)])


def from_starts(query: Query, seed: int, attack: str, starts: int, run: Callable[[Tensor, Tensor], None]) -> None:
    """`run(active, x)` for whatever is unbroken: x is the centre at first, then random points."""
    for start in range(starts):
        active = query.unbroken()
        if not len(active):
            return
        sets = query.problem.input_set[active]
        names = [query.problem.sample_id[i] for i in active.tolist()]
        run(
            active,
            random_points(sets, [derive_seed(seed, attack, name, start) for name in names]) if start else sets.center,
        )


def climb(query: Query, active: Tensor, x: Tensor, move: Move, steps: int) -> None:
    """Projected steps along the gradient of the cross-entropy from x; instances drop out once broken."""

    def gradient(points: Points, k: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        # Moves take the direction of the gradient alone, and that of the log-odds is the same and never vanishes.
        return query.gradient(points.x, points.active, log_odds)[1], ()

    solve(Ascent(query, Points(active, x), gradient, move), steps)


@dataclass(frozen=True)
class FGSM:
    """One step of full length along the steepest ascent of the cross-entropy at the centre."""

    @property
    def name(self) -> str:
        return "fgsm"

    @property
    def parameters(self) -> dict[str, Any]:
        return {}

    @property
    def norms(self) -> frozenset[Norm]:
        return frozenset({Norm.LINF, Norm.L2})

    def run(self, query: Query, seed: int) -> None:
        everyone = query.everyone
        sets = query.problem.input_set
        _, gradient = query.gradient(sets.center, everyone, log_odds)
        query.margins(sets.project(sets.center + steepest_ascent(sets, gradient, 1.0)), everyone)


@dataclass(frozen=True)
class PGD:
    """Projected steepest ascent of the cross-entropy; the first run starts at the centre, restarts at random points.

    steps: per run. restarts: runs in all. step_size: of the radius; the default reaches 2.5 radii in all.
    Instances drop out once broken.
    """

    steps: int = 40
    restarts: int = 4
    step_size: float | None = None

    @property
    def name(self) -> str:
        return "pgd"

    @property
    def parameters(self) -> dict[str, Any]:
        return {**asdict(self), "step_size": self._length}

    @property
    def norms(self) -> frozenset[Norm]:
        return frozenset({Norm.LINF, Norm.L2})

    @property
    def _length(self) -> float:
        return 2.5 / self.steps if self.step_size is None else self.step_size

    def doubled(self) -> "PGD":
        """Twice the steps, half as long if their length was given, and twice the restarts."""
        return PGD(2 * self.steps, 2 * self.restarts, None if self.step_size is None else self.step_size / 2)

    def run(self, query: Query, seed: int) -> None:
        def move(sets: InputSet, x: Tensor, gradient: Tensor, k: int) -> Tensor:
            return steepest_ascent(sets, gradient, self._length)

        def run(active: Tensor, x: Tensor) -> None:
            climb(query, active, x, move, self.steps)

        from_starts(query, seed, "pgd", self.restarts, run)


ATTACKS.add("fgsm")(FGSM())
ATTACKS.add("pgd")(PGD())
