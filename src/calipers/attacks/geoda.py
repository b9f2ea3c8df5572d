"""GeoDA (Rahmati et al., GeoDA: a geometric framework for black-box adversarial attacks, 2020)."""

from dataclasses import dataclass
from itertools import count
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.recorded import Recorded
from calipers.attacks.refine import SHARE, project
from calipers.core.distances import Distance, has_channels
from calipers.core.errors import InputError
from calipers.core.norms import flat, per_sample
from calipers.core.problem import MinimumNormProblem
from calipers.core.seeds import derive_seed, generator

# How far the first points are from the centre, in sizes of the domain; then twice as far, and so on.
_FIRST = (0.05, 0.15, 0.4, 1.0)
# How far to go along the first normals, likewise.
_LENGTHS = (1.0, 0.5, 0.25, 0.1)
# What is tried in a round: the share of the nearest distance, and how much of the ray is added to the nearest input;
# None: the ray alone.
_TRIALS = ((0.9, None), (0.9, 1.0), (0.95, 0.5), (0.98, 0.25), (0.99, 0.1))
# Passes of a round that bring the nearest input to the boundary.
_CUTS = 3
# Passes that a search needs at least: a pair of points and the first lengths, beside the pass at the centre.
LEAST = 3 + len(_LENGTHS)


@dataclass(frozen=True)
class GeoDA(Recorded):
    """Forward passes only: the boundary is taken for a plane, whose normal is estimated at the nearest input so far.

    A round brings that input to the boundary (as `refine` does), asks about pairs of opposite points around it, and
    tries inputs on the ray from the centre along which the plane is nearest in the distance asked for (algorithm 1, for
    l1 algorithm 3). Ours: the differences of a pair weigh with the smallest row, which is the paper's sign where a
    model tells its decision alone; points are at random signs, as far as the input is from its centre on average per
    value, so that steps of a quantised model average out; normals have a memory; inputs between the ray and the nearest
    one are tried too, for boundaries that bend; the first input comes from ever larger random signs at the centre, and
    the rays along what these tell; l0, by the values whose way to the edge of the domain counts most.

    propagations: the budget, the pass at the centre included. pairs: of a round, fewer within small budgets. memory:
    the weight of the normals before. Raises InputError when run if the budget has no room for the first points.
    """

    name: ClassVar[str] = "geoda"
    distances: ClassVar[frozenset[Distance]] = frozenset(Distance)

    propagations: int
    pairs: int = 8
    memory: float = 0.9

    def run(self, query: NearestQuery, seed: int) -> None:
        if self.propagations < LEAST:
            raise InputError(
                f"GeoDA: {self.propagations} propagations; accepted: {LEAST} or more, for the first points"
            )
        draws = tuple(generator(derive_seed(seed, "geoda", sample)) for sample in query.problem.sample_id)
        pairs = max(1, min(self.pairs, self.propagations // 12))
        _Search(query, self.propagations - 1, pairs, self.memory, draws).run()


@dataclass(frozen=True)
class _Search:
    """One search on one batch. passes: of every instance. draws: one generator each, so that batches do not matter.

    Normals, of shape (batch, *shape) or (active, *shape), point to where the specification breaks, per unit of scale.
    """

    query: NearestQuery
    passes: int
    pairs: int
    memory: float
    draws: tuple[torch.Generator, ...]

    def run(self) -> None:
        normal = self._begin()
        cost = _CUTS + 2 * self.pairs + len(_TRIALS)
        while len(active := self._found(cost)):
            self._cut(active, _CUTS)
            fresh = self._normal(active, self._nearest(active), self._spread(active))
            normal = normal.index_copy(0, active, self.memory * normal[active] + fresh)
            self._try(active, normal[active])
        while len(active := self._found(1)):
            self._cut(active, 1)

    def _left(self, cost: int) -> Tensor:
        return self.query.forwards + cost <= self.passes

    def _found(self, cost: int) -> Int[Tensor, " active"]:
        """The instances with a broken input and so many passes left."""
        return (self.query.best_distance.isfinite() & self._left(cost)).nonzero()[:, 0]

    def _begin(self) -> Float[Tensor, "batch *shape"]:
        """Look for a first broken input of every instance; the normals at the centres."""
        normal = torch.zeros_like(self.query.problem.center)
        width = self.query.problem.width
        for number in count():
            reach = _FIRST[number % len(_FIRST)] * 2 ** (number // len(_FIRST))
            pairs = max(1, min(self.pairs, (self.passes - len(_LENGTHS)) // 2))
            active = self.query.best_distance.isinf() & self._left(2 * pairs + len(_LENGTHS))
            active = active.nonzero()[:, 0]
            if not len(active):
                return normal
            centre = torch.zeros_like(normal[active])
            size = torch.full_like(self.query.best_distance[active], reach * float(width.max()))
            normal = normal.index_add(0, active, self._normal(active, centre, size, pairs))
            for length in _LENGTHS:
                ray = length * max(1, reach) * width * normal[active].sign()
                self.query.margins(self.query.problem[active].perturbed(ray), active)
        raise AssertionError("unreachable")

    def _nearest(self, active: Int[Tensor, " active"]) -> Float[Tensor, "active *shape"]:
        """The nearest perturbation of each so far."""
        problem = self.query.problem[active]
        return (self.query.best[active] - problem.center) / problem.scale

    def _spread(self, active: Int[Tensor, " active"]) -> Float[Tensor, " active"]:
        """The root mean square of the nearest perturbation."""
        return flat(self._nearest(active)).square().mean(1).sqrt()

    def _normal(
        self,
        active: Int[Tensor, " active"],
        r: Float[Tensor, "active *shape"],
        size: Float[Tensor, " active"],
        pairs: int | None = None,
    ) -> Float[Tensor, "active *shape"]:
        """How the smallest row falls around r, from pairs of points that are `size` away in every value."""
        problem, pairs = self.query.problem[active], pairs or self.pairs
        signs = [torch.randint(0, 2, (pairs, *r.shape[1:]), generator=self.draws[i]) for i in active.tolist()]
        total = torch.zeros_like(r)
        for sign in (2 * torch.stack(signs, 1) - 1).to(r):
            step = per_sample(size, r) * sign
            above, below = (self.query.margins(problem.perturbed(r + s), active).amin(1) for s in (step, -step))
            fall = ((below - above) / (2 * size)).nan_to_num(0, 0, 0)
            total += per_sample(fall, r) * sign
        return total / pairs

    def _try(self, active: Int[Tensor, " active"], normal: Float[Tensor, "active *shape"]) -> None:
        """Ask about inputs nearer than the nearest, on the ray and beside it."""
        problem = self.query.problem[active]
        for share, mixed in _TRIALS:
            size = share * self.query.best_distance[active]
            tried = ray(problem, normal, size)
            if mixed is not None:
                tried = project(problem.distance, problem.clip(self._nearest(active) + mixed * tried), size)
            self.query.margins(problem.perturbed(tried), active)

    def _cut(self, active: Int[Tensor, " active"], passes: int) -> None:
        """Bring the nearest input of each towards the boundary."""
        problem = self.query.problem[active]
        low = torch.zeros_like(self.query.best_distance[active])
        for _ in range(passes):
            before = self.query.best_distance[active]
            middle = low + SHARE * (before - low)
            middle = middle.floor() if problem.distance.norm is None else middle
            tried = project(problem.distance, self._nearest(active), middle)
            self.query.margins(problem.perturbed(tried), active)
            low = torch.where(self.query.best_distance[active] < before, low, middle)


def ray(
    problem: MinimumNormProblem, normal: Float[Tensor, "batch *shape"], size: Float[Tensor, " batch"]
) -> Float[Tensor, "batch *shape"]:
    """The perturbation of at most this size, in the domain, that goes far along the normal: farthest but in l2."""
    # Without a domain the way to its edge is longer than any size.
    room = problem.clip(normal.sign() * (1 + size.max() if problem.domain is None else torch.inf)).nan_to_num(0)
    match problem.distance:
        case Distance.LINF:
            return problem.clip(per_sample(size, normal) * normal.sign())
        case Distance.L2:
            free = torch.where(room == 0, 0, normal)
            length = flat(free).norm(dim=1).clamp_min(torch.finfo(free.dtype).tiny)
            return problem.clip(per_sample(size / length, free) * free)
        case Distance.L1:
            order = flat(normal.abs() * (room != 0)).argsort(dim=1, descending=True, stable=True)
            ways = flat(room).gather(1, order)
            before = ways.abs().cumsum(1) - ways.abs()
            taken = torch.minimum((size[:, None] - before).clamp_min(0), ways.abs()).copysign(ways)
            return torch.zeros_like(taken).scatter(1, order, taken).reshape(normal.shape)
        case Distance.L0_PIXELS | Distance.L0_VALUES:
            room = problem.clip(normal.sign() * problem.width)
            gain = (normal * room).clamp_min(0)
            if problem.distance is Distance.L0_PIXELS and has_channels(gain):
                gain = gain.sum(1, keepdim=True)
            rank = flat(gain).argsort(dim=1, descending=True, stable=True).argsort(1)
            return room * (rank < size.floor()[:, None]).reshape(gain.shape)
