"""Cutting the way from the nearest query back to the boundary: forward passes only, for any minimum-norm attack."""

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.attacks.nearest_query import NearestQuery
from calipers.core.distances import Distance
from calipers.core.norms import flat, per_sample
from calipers.core.projections import project_l1, project_l2

SHARE = 0.8


def refine(query: NearestQuery, passes: int) -> None:
    """Search, per sample, for the smallest ball around the centre on which the nearest query can be projected.

    The points on the way are those of FMN's search (Pintor et al. 2021). The boundary is expected near the query, so
    every pass cuts off `SHARE` of the way. Samples without a broken query, and counts without a whole number between,
    drop out.
    """
    low = torch.zeros_like(query.best_distance)
    counts = query.problem.distance.norm is None
    for _ in range(passes):
        least = low + 1 if counts else low
        active = (query.best_distance.isfinite() & (query.best_distance > least)).nonzero()[:, 0]
        if not len(active):
            return
        problem, before = query.problem[active], query.best_distance[active]
        step = SHARE * (before - low[active])
        middle = low[active] + (step.floor() if counts else step)
        r = (query.best[active] - problem.center) / problem.scale
        query.margins(problem.perturbed(project(problem.distance, r, middle)), active)
        low[active] = torch.where(query.best_distance[active] < before, low[active], middle)


def project(
    distance: Distance, r: Float[Tensor, "batch *shape"], radius: Float[Tensor, " batch"]
) -> Float[Tensor, "batch *shape"]:
    """The perturbation of at most this size that is nearest to r; for counts, the largest ones are kept."""
    match distance:
        case Distance.LINF:
            return torch.minimum(torch.maximum(r, -per_sample(radius, r)), per_sample(radius, r))
        case Distance.L2:
            return project_l2(flat(r), radius).reshape(r.shape)
        case Distance.L1:
            return project_l1(flat(r), radius).reshape(r.shape)
        case Distance.L0_PIXELS | Distance.L0_VALUES:
            size = distance.sizes(r)
            rank = flat(size).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
            return r * (rank < radius[:, None]).reshape(size.shape)
