"""One-Pixel (Su, Vargas & Sakurai, One Pixel Attack for Fooling Deep Neural Networks, 2019)."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from calipers.attacks.minimum_norm import MINIMUM_NORM_ATTACKS
from calipers.attacks.nearest_query import NearestQuery
from calipers.core.distances import Distance, has_channels
from calipers.core.errors import InputError
from calipers.core.problem import MinimumNormProblem
from calipers.core.seeds import derive_seed, generator

# A child needs three members to come from.
_SMALLEST = 4


@dataclass(frozen=True)
class OnePixel:
    """Differential evolution over where few pixels are and which values they get; forward passes only (section 3).

    One search after another, for every number in `pixels`; a sample drops out once broken. The searches share the
    budget evenly; one without room for the whole evolution has four times as many members as generations, as 400
    members and 100 generations have. Fitness is the smallest row. No crossover; a child takes its parent's place where
    it is as fit. Ours: the members of a search are the last ones of the search before, with new pixels added.

    Positions start uniform, values normal around the middle of the domain with half its width, and are clipped.
    Without a domain they start normal around the centre with one unit of scale, and are free. Inputs of shape
    (features,) have a pixel for each value.

    propagations: the budget, the pass at the centre included. pixels: rising. population, generations: of one search,
    at most. weight: of the difference of two members in a child. Raises InputError when run if the budget has no room
    for four members of every search.
    """

    propagations: int
    pixels: tuple[int, ...] = (1, 3, 5, 8, 12)
    population: int = 400
    generations: int = 100
    weight: float = 0.5

    def __post_init__(self) -> None:
        if not self.pixels or self.pixels[0] < 1 or list(self.pixels) != sorted(set(self.pixels)):
            raise InputError(f"One-Pixel: pixels {self.pixels}; accepted: rising numbers from 1 on")
        if self.population < _SMALLEST:
            raise InputError(f"One-Pixel: a population of {self.population}; accepted: {_SMALLEST} or more")

    @property
    def name(self) -> str:
        return "one-pixel"

    @property
    def parameters(self) -> dict[str, Any]:
        return {**asdict(self), "pixels": list(self.pixels)}

    @property
    def distances(self) -> frozenset[Distance]:
        return frozenset({Distance.L0_PIXELS})

    def run(self, query: NearestQuery, seed: int) -> None:
        canvas = _Canvas(query.problem)
        counts = sorted({min(count, math.prod(canvas.sizes)) for count in self.pixels})
        share = (self.propagations - 1) // len(counts)
        if share < _SMALLEST:
            least = 1 + _SMALLEST * len(counts)
            raise InputError(
                f"One-Pixel: {self.propagations} propagations for {len(counts)} numbers of pixels; "
                f"accepted: {least} or more, for the centre and {_SMALLEST} members of each"
            )
        members = min(self.population, share, max(_SMALLEST, 2 * math.isqrt(share)))
        ids = query.problem.sample_id
        draws = [generator(derive_seed(seed, "one-pixel", one)) for one in ids]
        genes = torch.stack([canvas.draw(members, counts[0], draw) for draw in draws])
        active = query.everyone
        for count in counts:
            new = count - genes.shape[2]
            if new:
                drawn = torch.stack([canvas.draw(members, new, draws[i]) for i in active.tolist()])
                genes = torch.cat([genes, drawn], 2)
            active, genes = self._evolve(query, canvas, active, genes, share, draws)
            if not len(active):
                return

    def _evolve(
        self,
        query: NearestQuery,
        canvas: "_Canvas",
        active: Int[Tensor, " active"],
        genes: Float[Tensor, "active members pixels genes"],
        passes: int,
        draws: list[torch.Generator],
    ) -> tuple[Int[Tensor, " unbroken"], Float[Tensor, "unbroken members pixels genes"]]:
        """Search from these members; the samples that stay unbroken, and their members at the end."""
        fitness = torch.full(genes.shape[:2], torch.inf, dtype=genes.dtype, device=genes.device)
        members = genes.shape[1]
        children = genes
        for spent in range(min(passes, (1 + self.generations) * members)):
            k = spent % members
            if k == 0 and spent:
                children = self._children(canvas, genes, [draws[i] for i in active.tolist()])
            x = canvas.paint(children[:, k], active)
            margin = query.margins(x, active).amin(1)
            fitter = margin <= fitness[:, k]
            fitness[:, k] = torch.where(fitter, margin, fitness[:, k])
            genes[:, k] = torch.where(fitter[:, None, None], children[:, k], genes[:, k])
            left = query.best_distance[active].isinf()
            if not bool(left.all()):
                active, genes, fitness, children = active[left], genes[left], fitness[left], children[left]
                if not len(active):
                    break
        return active, genes

    def _children(
        self, canvas: "_Canvas", genes: Float[Tensor, "active members pixels genes"], draws: list[torch.Generator]
    ) -> Float[Tensor, "active members pixels genes"]:
        """For each member one other, moved by the weighted difference of two more (DE/rand/1)."""
        members = genes.shape[1]
        chosen = torch.stack([torch.rand(members, members, generator=draw).argsort(1)[:, :3] for draw in draws])
        everyone = torch.arange(len(genes), device=genes.device)[:, None, None]
        one, two, three = genes[everyone, chosen.to(genes.device)].unbind(2)
        return canvas.legal(one + self.weight * (two - three))


@dataclass(frozen=True)
class _Canvas:
    """Genes of a pixel: its position, every coordinate in [0, 1), then for each channel a standardised value.

    A standardised value is 0 in the middle of the domain and 1 at its upper end; without a domain it is 0 at the centre
    and 1 a unit of scale above.
    """

    problem: MinimumNormProblem

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of every coordinate of a position."""
        center = self.problem.center
        return tuple(center.shape[2:] if has_channels(center) else center.shape[1:])

    @property
    def channels(self) -> int:
        return self.problem.center.shape[1] if has_channels(self.problem.center) else 1

    def draw(self, members: int, pixels: int, draws: torch.Generator) -> Float[Tensor, "members pixels genes"]:
        positions = torch.rand(members, pixels, len(self.sizes), generator=draws)
        values = torch.randn(members, pixels, self.channels, generator=draws)
        return self.legal(torch.cat([positions, values], 2).to(self.problem.center))

    def legal(self, genes: Float[Tensor, "*batch pixels genes"]) -> Float[Tensor, "*batch pixels genes"]:
        """Positions go round the edges; values are clipped to the domain."""
        positions, values = genes.split([len(self.sizes), self.channels], -1)
        return torch.cat([positions.remainder(1), values if self.problem.domain is None else values.clamp(-1, 1)], -1)

    def paint(
        self, genes: Float[Tensor, "active pixels genes"], active: Int[Tensor, " active"]
    ) -> Float[Tensor, "active *shape"]:
        """The centres with these pixels; of two at one position, the later one is seen."""
        center = self.problem.center[active]
        plain = center.reshape(len(center), self.channels, -1)
        if self.problem.domain is None:
            middle, unit = plain, self.problem.scale.expand_as(center).reshape(plain.shape)
        else:
            low, high = self.problem.domain
            middle, unit = torch.full_like(plain, (low + high) / 2), torch.full_like(plain, (high - low) / 2)
        positions, values = genes.split([len(self.sizes), self.channels], -1)
        places = torch.zeros_like(positions[..., 0], dtype=torch.long)
        for axis, size in enumerate(self.sizes):
            # Rounding may make a position 1.
            places = places * size + (positions[..., axis] * size).long().clamp_max(size - 1)
        x, everyone = plain.clone(), torch.arange(len(plain), device=plain.device)
        for j in range(places.shape[1]):
            at = (everyone, slice(None), places[:, j])
            x[at] = middle[at] + unit[at] * values[:, j]
        x = x.reshape(center.shape)
        return x if self.problem.domain is None else x.clamp(*self.problem.domain)


MINIMUM_NORM_ATTACKS.add("one-pixel")(OnePixel)
