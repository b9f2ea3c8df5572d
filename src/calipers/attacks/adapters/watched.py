"""What attacks of other libraries see: inputs in [0, 1], one instance at a time, and a model that counts and remembers.

One at a time, because their random draws and stopping rules look at the whole batch; so a result depends on its own
instance alone, and every pass is known to be for it.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from calipers.attacks.adapters.library import quietly, seeded
from calipers.attacks.counted import CountedModel
from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.query import Query
from calipers.core.errors import InputError
from calipers.core.norms import flat, per_sample
from calipers.core.problem import Specification
from calipers.core.seeds import derive_seed
from calipers.core.sets import LpBall

# Of the domain: what single precision and another order of operations may add to a point.
ROUNDING = 1e-6

# Of torch, when a library hands it an array of another one.
_READ_ONLY = "The given NumPy array is not writable"


class Enough(Exception):  # noqa: N818  it is no error
    """Ends another library's attack: whatever it would still do is of no use or beyond the budget."""


class Watched(nn.Module):
    """One instance's model on inputs in [0, 1]. Before every pass `stop` is asked, with the passes it will cost.

    sets: those in which queries count, if any; a query outside by their rounding is put inside.
    """

    def __init__(
        self,
        query: CountedModel,
        instance: int,
        domain: tuple[float, float],
        stop: Callable[[int], bool],
        sets: LpBall | None = None,
    ) -> None:
        super().__init__()
        self._query = query
        self._instance = instance
        self._domain = domain
        self._stop = stop
        self._sets = sets

    def forward(self, z: Tensor) -> Tensor:
        if self._stop(len(z) * (1 + (z.requires_grad and torch.is_grad_enabled()))):
            raise Enough
        x = from_unit(z, self._domain).to(self._query.best.dtype)
        if self._sets is not None:
            inside = self._sets[[self._instance] * len(x)].project(x.detach())
            near = flat((inside - x).abs()).amax(1) <= ROUNDING * (self._domain[1] - self._domain[0])
            # The gradient passes as it would without.
            x = torch.where(per_sample(near, x), inside + (x - x.detach()), x)
        return self._query.logits_of(x, self._instance).to(z.dtype)


# From the watched model, z of shape (1, *shape) and its label to what the attack returns, if anything.
NearestSearch = Callable[[nn.Module, Tensor, Tensor], Tensor | None]
# From the watched model, z of shape (1, *shape), its label and the radius in units of z to what the attack returns.
BallSearch = Callable[[nn.Module, Tensor, Tensor, float], Tensor]


def search_balls(query: Query, seed: int, name: str, search: BallSearch) -> None:
    """Run another library's fixed-epsilon attack on every instance until it is broken.

    Raises InputError for sets and specifications that such a library cannot express.
    """
    sets = query.problem.input_set
    if not isinstance(sets, LpBall):
        raise InputError(f"attack {name!r} searches balls, not {type(sets).__name__}; choose an attack of calipers")
    labels, domain = labels_of(query.problem.specification, name), _domain(sets.domain, name)
    unit = _unit(sets.scale, domain, name)

    def broken(instance: int, passes: int) -> bool:
        return bool(query.best_margin[instance] <= 0)

    with query.frozen():
        for i, sample in enumerate(query.problem.sample_id):
            model = Watched(query, i, domain, partial(broken, i), sets)
            with suppress(Enough), quietly(_READ_ONLY), seeded(derive_seed(seed, name, sample)):
                z = to_unit(sets.center[i : i + 1], domain)
                found = search(model, z, labels[i : i + 1], float(sets.radius[i]) * unit)
                x = from_unit(found.detach(), domain).to(query.best.dtype)
                query.margins(sets[i : i + 1].project(x), torch.tensor([i], device=x.device))


def search_nearest(query: NearestQuery, seed: int, name: str, propagations: int, search: NearestSearch) -> None:
    """Run another library's minimum-norm attack on every instance until the budget is spent.

    The last pass is for what it returns, which it need not have asked about.

    Raises InputError for distances and specifications that such a library cannot express.
    """
    problem = query.problem
    labels, domain = labels_of(problem.specification, name), _domain(problem.domain, name)
    _unit(problem.scale, domain, name)

    def spent(instance: int, passes: int) -> bool:
        before = int(query.forwards[instance] + query.backwards[instance])
        return 2 + before + passes > propagations

    with query.frozen():
        for i, sample in enumerate(problem.sample_id):
            model = Watched(query, i, domain, partial(spent, i))
            with suppress(Enough), quietly(_READ_ONLY), seeded(derive_seed(seed, name, sample)):
                found = search(model, to_unit(problem.center[i : i + 1], domain), labels[i : i + 1])
                if found is not None:
                    x = from_unit(found.detach(), domain).to(query.best.dtype)
                    query.margins(x, torch.tensor([i], device=x.device))


def labels_of(specification: Specification, name: str) -> Int[Tensor, " batch"]:
    """The labels of a classification. Raises InputError for any other specification."""
    labels = specification.C.sum(1).argmax(1)
    asked = Specification.classified_as(labels, specification.C.shape[2])
    same = specification.C.shape == asked.C.shape and torch.equal(specification.C, asked.C.to(specification.C))
    if not same or bool(specification.d.any()):
        raise InputError(f"attack {name!r} looks for another class than the label; accepted: that specification alone")
    return labels


def to_unit(x: Float[Tensor, "batch *shape"], domain: tuple[float, float]) -> Float[Tensor, "batch *shape"]:
    """From the domain to [0, 1]."""
    return ((x - domain[0]) / (domain[1] - domain[0])).clamp(0, 1)


def from_unit(z: Float[Tensor, "batch *shape"], domain: tuple[float, float]) -> Float[Tensor, "batch *shape"]:
    """From [0, 1] to the domain."""
    return (domain[0] + (domain[1] - domain[0]) * z).clamp(*domain)


def _domain(domain: tuple[float, float] | None, name: str) -> tuple[float, float]:
    if domain is None:
        raise InputError(f"attack {name!r} needs to know what inputs can be; accepted: a threat model with a domain")
    return domain


def _unit(scale: Tensor, domain: tuple[float, float], name: str) -> float:
    """A distance of 1 in units of z."""
    low, high = float(scale.min()), float(scale.max())
    if low != high:
        raise InputError(f"attack {name!r} knows one scale for all values, not {low:g} to {high:g}; use pixel units")
    return low / (domain[1] - domain[0])
