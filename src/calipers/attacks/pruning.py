"""Greedy pruning of the support of a sparse perturbation, for attacks that count pixels or values."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from calipers.attacks.losses import smallest_margin
from calipers.attacks.nearest_query import NearestQuery
from calipers.core.distances import Distance, has_channels
from calipers.core.norms import flat

# Passes of a trial: forward and backward at one point, forward at another; and of the gradient it starts from.
_TRIAL, _GRADIENT = 3, 2


def prune(query: NearestQuery, passes: int) -> None:
    """Look, per sample, for broken queries that change fewer pixels (or values) than the nearest, within `passes`.

    The pixels of a trial are all but one of the nearest query's, the one of least worth first; once each of them was
    left out in vain, all but the two of least worth, and one other, the worthiest first. A pixel's worth is what it
    adds to the linearised loss between the centre and that end of the domain which the gradient points to. All pixels
    of a trial move to such ends, by the gradient at the nearest query, and then by the gradient where that led.
    Without a domain there are no ends, and nothing is tried.
    """
    problem = query.problem
    if problem.domain is None or problem.distance.norm is not None:
        return
    slope = torch.zeros_like(problem.center)
    units = problem.distance.sizes(slope)
    tried = torch.zeros_like(flat(units), dtype=torch.bool)
    known = torch.zeros_like(query.best_distance, dtype=torch.bool)
    swapping, left = known.clone(), torch.full_like(query.forwards, passes)
    while True:
        enough = left >= torch.where(known, _TRIAL, _TRIAL + _GRADIENT)
        active = (enough & query.best_distance.isfinite() & (query.best_distance > 1)).nonzero()[:, 0]
        if not len(active):
            return
        stale = active[~known[active]]
        if len(stale):
            slope[stale] = query.gradient(query.best[stale], stale, smallest_margin)[1]
            left[stale] -= _GRADIENT
            known[stale] = True
        center, before = problem.center[active], query.best_distance[active]
        ends = _ends(slope[active], center, problem.domain)
        worth = _worth(problem.distance, slope[active] * (ends - center))
        changed = flat(problem.distance.sizes(query.best[active] - center) != 0)
        kept, tried[active], swapping[active] = _trial(worth, changed, tried[active], swapping[active])
        mask = kept.reshape(-1, *units.shape[1:])
        _, there = query.gradient(torch.where(mask, ends, center), active, smallest_margin)
        first = query.best_distance[active] < before
        slope[active[first]] = there[first]
        if not bool(first.all()):
            ends = _ends(there[~first], center[~first], problem.domain)
            query.margins(torch.where(mask[~first], ends, center[~first]), active[~first])
        left[active] -= _TRIAL
        better = query.best_distance[active] < before
        known[active[better & ~first]] = False
        tried[active[better]], swapping[active[better]] = False, False


def _trial(
    worth: Float[Tensor, "active units"],
    changed: Bool[Tensor, "active units"],
    tried: Bool[Tensor, "active units"],
    swapping: Bool[Tensor, " active"],
) -> tuple[Bool[Tensor, "active units"], Bool[Tensor, "active units"], Bool[Tensor, " active"]]:
    """What a trial may change, what has been tried after it, and who swaps, since all that could be dropped was."""
    least, dropped = worth.masked_fill(~changed | tried, torch.inf).min(1)
    exhausted = least.isinf() & ~swapping
    tried, swapping = tried & ~exhausted[:, None], swapping | exhausted
    two = worth.masked_fill(~changed, torch.inf).topk(2, largest=False).indices
    added = worth.masked_fill(changed | tried, -torch.inf).argmax(1)
    kept = changed.scatter(1, torch.where(swapping[:, None], two, dropped[:, None]), False)
    unit = torch.where(swapping, added, dropped)[:, None]
    return kept.scatter(1, unit, swapping[:, None]), tried.scatter(1, unit, True), swapping


def _ends(slope: Tensor, center: Tensor, domain: tuple[float, float]) -> Float[Tensor, "batch *shape"]:
    """The ends of the domain that the slope points to; the centre where it points nowhere."""
    low, high = domain
    return torch.where(slope > 0, high, torch.where(slope < 0, low, center))


def _worth(distance: Distance, gain: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch units"]:
    """The gain of every pixel, over its channels, or of every value, as the distance counts."""
    pixels = distance is Distance.L0_PIXELS and has_channels(gain)
    return flat(gain.sum(1) if pixels else gain)
