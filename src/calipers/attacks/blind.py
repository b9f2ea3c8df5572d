"""What joins an attack where gradients are of no use: a search without them, for the passes that are left."""

from collections.abc import Iterator

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from calipers.attacks.geoda import LEAST, GeoDA
from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.query import Query
from calipers.core.distances import Distance
from calipers.core.problem import MinimumNormProblem
from calipers.core.sets import LpBall


def nearest_without(model: nn.Module, query: NearestQuery, seed: int) -> Bool[Tensor, " batch"]:
    """Look for nearer inputs for the blind instances of a query; returns for which."""
    joined = torch.zeros_like(query.sight.blind)
    for active, passes in _groups(query.sight.blind, query.sight.saved):
        found = NearestQuery(model, query.problem[active], query.clean_margin[active])
        GeoDA(passes + 1).run(found, seed)
        query.adopt(found, active)
        joined[active] = True
    return joined


def balls_without(model: nn.Module, query: Query, seed: int) -> Bool[Tensor, " batch"]:
    """The same for balls: the nearest inputs are looked for, and may be near enough. Boxes are left alone."""
    sets = query.problem.input_set
    joined = torch.zeros_like(query.sight.blind)
    if not isinstance(sets, LpBall):
        return joined
    for active, passes in _groups(query.sight.blind & (query.best_margin > 0), query.sight.saved):
        problem = MinimumNormProblem(
            query.problem.model_digest,
            tuple(query.problem.sample_id[i] for i in active.tolist()),
            sets.center[active],
            Distance(sets.norm.value),
            sets.scale,
            sets.domain,
            query.problem.specification[active],
        )
        found = NearestQuery(model, problem, query.best_margin[active])
        # The last pass is for the ball.
        GeoDA(passes).run(found, seed)
        query.adopt(found, active)
        joined[active] = True
    return joined


def _groups(chosen: Bool[Tensor, " batch"], saved: Tensor) -> Iterator[tuple[Tensor, int]]:
    """The chosen instances with passes enough for a search, by their passes."""
    for passes in saved[chosen].unique().tolist():
        if passes >= LEAST:
            yield (chosen & (saved == passes)).nonzero()[:, 0], passes
