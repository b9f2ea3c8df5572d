"""Input sets as conditions of a program."""

from functools import singledispatch

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array, diags_array
from torch import Tensor

from calipers.core.errors import InputError
from calipers.core.norms import Norm
from calipers.core.sets import Box, InputSet, LpBall
from calipers.solve.program import Draft, Expression


def require_polytope(input_set: InputSet) -> None:
    """Raise InputError for a set that linear conditions do not describe."""
    if isinstance(input_set, LpBall) and input_set.norm is Norm.L2:
        raise InputError("milp: an l2 ball is not a polytope; accepted: boxes, linf balls and l1 balls")


@singledispatch
def region(input_set: InputSet, draft: Draft) -> Expression:
    """The flat input of one set, in new variables; inputs that are fixed need none."""
    raise TypeError(f"no program for {type(input_set).__name__}")


@region.register
def _(input_set: Box, draft: Draft) -> Expression:
    low, high = flat(input_set.lower), flat(input_set.upper)
    return _placed(draft.variables(low[low < high], high[low < high]), np.where(low < high, 0.0, low), low < high)


@region.register
def _(input_set: LpBall, draft: Draft) -> Expression:
    """In l1 an entry is centre + scale (up - down) with up, down >= 0, of which all together are at most the radius."""
    box = input_set.box()
    if input_set.norm is Norm.LINF:
        return region(box, draft)
    center, scale = flat(input_set.center), flat(input_set.scale.expand_as(input_set.center))
    low, high = flat(box.lower), flat(box.upper)
    free = low < high
    up = draft.variables(np.zeros(free.sum()), ((high - center) / scale)[free])
    down = draft.variables(np.zeros(free.sum()), ((center - low) / scale)[free])
    moved = up + down
    draft.require(moved.mixed(csr_array(np.ones((1, len(moved))))), -np.inf, float(input_set.radius[0]))
    return _placed((up - down).mixed(csr_array(diags_array(scale[free]))), center, free)


def _placed(some: Expression, others: np.ndarray, free: np.ndarray) -> Expression:
    """Entries where `free`, plus numbers."""
    size, count = len(others), len(some)
    place = csr_array((np.ones(count), (np.flatnonzero(free), np.arange(count))), shape=(size, count))
    return some.mixed(place) + Expression.fixed(others)


def flat(tensor: Tensor) -> Float[np.ndarray, " entries"]:
    """The entries as numbers in double precision."""
    return tensor.detach().double().flatten().numpy()
