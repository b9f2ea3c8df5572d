"""JSMA (Papernot et al., The Limitations of Deep Learning in Adversarial Settings, 2016)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from calipers.attacks.minimum_norm import MINIMUM_NORM_ATTACKS
from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.recorded import Recorded
from calipers.core.distances import Distance, has_channels
from calipers.core.errors import InputError
from calipers.core.norms import flat, per_sample
from calipers.core.problem import MinimumNormProblem

# Pairs scored at a time, of all samples together.
_PAIRS = 1 << 22


@dataclass(frozen=True)
class JSMA(Recorded):
    """Moves the two most salient features to an edge of the domain, again and again (algorithms 2 and 3).

    Every row is attacked both ways, with all features up and with all features down, in step with each other: a sample
    drops out once one of them breaks it, for the others would only change as many features or more. A row's target are
    the classes it counts against; the gradients are of the outputs (logits). A way without a salient pair ends.

    Features are values, or whole pixels where pixels are counted. Without a domain they move by one unit of scale, and
    may move again.

    propagations: the budget, the pass at the centre included; a step of one way costs three. Ours: where that is too
    little for all features pair by pair, the last steps change 2, 4, 8 ... pairs, and the very last all that are left.
    Raises InputError when run if the budget has no room for one step.
    """

    name: ClassVar[str] = "jsma"
    distances: ClassVar[frozenset[Distance]] = frozenset({Distance.L0_VALUES, Distance.L0_PIXELS})

    propagations: int

    def run(self, query: NearestQuery, seed: int) -> None:
        center = query.problem.center
        ways = [_Way(query, row, up) for row in range(query.problem.specification.C.shape[1]) for up in (True, False)]
        steps = ((self.propagations - 1) // len(ways) - 1) // 3
        if steps < 1:
            raise InputError(
                f"JSMA: {self.propagations} propagations for {len(ways) // 2} rows; accepted: {1 + 4 * len(ways)} or "
                "more, for the centre and one step"
            )
        points = [center.clone() for _ in ways]
        alive = torch.ones(len(ways), len(center), dtype=torch.bool, device=center.device)
        for pairs in pairs_per_step(steps, _features(query.problem, center).shape[1] // 2):
            unbroken = query.best_distance.isinf()
            for k, way in enumerate(ways):
                active = (unbroken & alive[k]).nonzero()[:, 0]
                if len(active):
                    points[k][active], alive[k, active] = way.step(points[k][active], active, pairs)
        unbroken = query.best_distance.isinf()
        for k in range(len(ways)):
            active = (unbroken & alive[k]).nonzero()[:, 0]
            if len(active):
                query.margins(points[k][active], active)


@dataclass(frozen=True)
class _Way:
    """One row, and whether features go up or down."""

    query: NearestQuery
    row: int
    up: bool

    def step(
        self, x: Float[Tensor, "active *shape"], active: Int[Tensor, " active"], pairs: int
    ) -> tuple[Float[Tensor, "active *shape"], Bool[Tensor, " active"]]:
        """Where x goes when so many pairs move, or fewer where fewer are salient, and whether any does."""
        problem = self.query.problem[active]
        sign = 1.0 if self.up else -1.0
        # Values at the edge already cannot move.
        free = problem.inward(x, torch.full_like(x, sign)) != 0
        alpha, beta = (sign * free * problem.scale * problem.width * slope for slope in self._slopes(x, active))
        gain, relief = _features(problem, alpha), -_features(problem, beta)
        chosen = salient(gain, relief, _features(problem, free) > 0, pairs)
        mask = _spread(problem, chosen, x)
        if problem.domain is None:
            moved = x + sign * problem.scale
        else:
            moved = torch.full_like(x, problem.domain[1] if self.up else problem.domain[0])
        return torch.where(mask, moved, x), chosen.any(1)

    def _slopes(self, x: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of the target's output, alpha, and of the sum of all other outputs, beta."""
        weights = self.query.problem.specification.C[active, self.row]
        x = x.detach().requires_grad_(True)
        with torch.enable_grad():
            logits = self.query.logits(x, active)
            target = (logits * (-weights).clamp_min(0).to(logits.dtype)).sum()
            others = (logits * (weights >= 0)).sum()
            (alpha,) = torch.autograd.grad(target, x, retain_graph=True)
            (beta,) = torch.autograd.grad(others, x)
        return alpha, beta


def pairs_per_step(steps: int, pairs: int) -> list[int]:
    """One pair a step if there are enough steps; else the last steps double, as few as will do."""
    if steps >= pairs:
        return [1] * pairs
    doubling = 0
    while doubling < steps - 1 and steps - doubling + 2 ** (doubling + 1) - 2 < pairs:
        doubling += 1
    plan = [1] * (steps - doubling) + [2 ** (k + 1) for k in range(doubling)]
    return [*plan[:-1], max(1, pairs - sum(plan[:-1]))]


def salient(
    gain: Float[Tensor, "batch features"],
    relief: Float[Tensor, "batch features"],
    free: Bool[Tensor, "batch features"],
    pairs: int,
) -> Bool[Tensor, "batch features"]:
    """Which free features the best `pairs` disjoint pairs hold, each the best of what the ones before leave.

    gain: alpha, relief: -beta, for the way features move. A pair's score is the product of its two sums, which both
    have to be positive (algorithm 3).
    """
    chosen = torch.zeros_like(free)
    for _ in range(pairs):
        pair, found = best_pair(gain, relief, free & ~chosen)
        if not bool(found.any()):
            break
        chosen |= torch.zeros_like(free).scatter(1, pair, found[:, None].expand(-1, 2))
    return chosen


def best_pair(
    gain: Float[Tensor, "batch features"], relief: Float[Tensor, "batch features"], free: Bool[Tensor, "batch features"]
) -> tuple[Int[Tensor, "batch 2"], Bool[Tensor, " batch"]]:
    """The pair of free features with the largest (gain_p + gain_q)(relief_p + relief_q), and whether there is one.

    The answer is exact, though few pairs are looked at: the score rises with both sums, so a feature that two others
    match or beat in gain and relief can be left out.
    """
    if gain.shape[1] < 2:
        return torch.zeros(len(gain), 2, dtype=torch.long, device=gain.device), torch.zeros_like(free[:, 0])
    gain, relief = (_normalised(values).masked_fill(~free, -torch.inf) for values in (gain, relief))
    order = gain.argsort(dim=1, descending=True, stable=True)
    sorted_relief = relief.gather(1, order)
    first = sorted_relief.cummax(1).values
    second = torch.minimum(sorted_relief[:, 1:], first[:, :-1]).cummax(1).values
    kept = torch.ones_like(free)
    kept[:, 2:] = sorted_relief[:, 2:] > second[:, :-1]
    most = int(kept.sum(1).max())
    places = kept.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
    # Where a row keeps fewer, the rest of its places hold features that lose: they do no harm.
    features = order.gather(1, places)
    step = max(1, _PAIRS // most**2)
    found = [
        _best_of_all(gain[i : i + step].gather(1, part), relief[i : i + step].gather(1, part), part)
        for i, part in zip(range(0, len(gain), step), features.split(step), strict=True)
    ]
    pair, score = (torch.cat(parts) for parts in zip(*found, strict=True))
    return pair, score > 0


def _best_of_all(
    gain: Float[Tensor, "batch kept"], relief: Float[Tensor, "batch kept"], features: Int[Tensor, "batch kept"]
) -> tuple[Int[Tensor, "batch 2"], Float[Tensor, " batch"]]:
    gains, reliefs = (values[:, :, None] + values[:, None, :] for values in (gain, relief))
    score = torch.where((gains > 0) & (reliefs > 0), gains * reliefs, 0.0)
    score.diagonal(dim1=1, dim2=2).zero_()
    best, at = score.flatten(1).max(1)
    count = gain.shape[1]
    return features.gather(1, torch.stack([at // count, at % count], 1)), best


def _normalised(values: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
    """To a largest magnitude of 1, for products of small gradients vanish."""
    return values / per_sample(values.abs().amax(1).clamp_min(torch.finfo(values.dtype).tiny), values)


def _features(problem: MinimumNormProblem, values: Shaped[Tensor, "batch *shape"]) -> Shaped[Tensor, "batch features"]:
    """The values themselves, or their sums over the channels of a pixel where pixels are counted."""
    by_pixel = problem.distance is Distance.L0_PIXELS and has_channels(values)
    return flat(values.sum(1) if by_pixel else values)


def _spread(
    problem: MinimumNormProblem, chosen: Bool[Tensor, "batch features"], like: Float[Tensor, "batch *shape"]
) -> Bool[Tensor, "batch *shape"]:
    """Which values the features hold."""
    if problem.distance is Distance.L0_PIXELS and has_channels(like):
        return chosen.reshape(len(like), 1, *like.shape[2:]).expand_as(like)
    return chosen.reshape(like.shape)


MINIMUM_NORM_ATTACKS.add("jsma")(JSMA)
