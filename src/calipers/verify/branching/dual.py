"""Ascent in the dual variables of subdomains: candidates' weights below, and multipliers of splits.

A walk back gives the bound, a walk forward through the same planes its slopes in every variable; so one step costs
about one backward and one forward pass, and keeps nothing in between.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from calipers.bounds.budget import WorkBudget
from calipers.core.adam import Moments
from calipers.core.norms import per_sample
from calipers.verify.branching.subdomains import DualWalk, Root, Subdomains, Variables

# Arrays of the size of a subdomain that one step of an ascent holds at a time.
_ARRAYS = 5

# Multipliers have a scale of their own; weights live on a simplex.
_DECAY = 0.1


@dataclass(frozen=True, eq=False)
class Ascent:
    """What an ascent reached: for each subdomain the variables with the highest bound, and their walk."""

    variables: Variables
    walk: DualWalk


def ascend(subdomains: Subdomains, variables: Variables, steps: int, rate: float, budget: WorkBudget) -> Ascent:
    """Adam with a rate that falls to a tenth; `steps` walks, the first of them at the variables given.

    Fewer where the budget's deadline comes first.
    """
    walk = subdomains.walk(variables)
    best = Ascent(variables, walk)
    moments: dict[int, Moments] = {}
    pushed = _start(variables.multiplier)
    for step in range(1, steps):
        if budget.left <= 0:
            break
        slopes, excess = _slopes(subdomains, variables, walk)
        length = rate * _DECAY ** (step / steps)
        moments = {p: (moments[p] if p in moments else _start(slope)).add(slope) for p, slope in slopes.items()}
        pushed = pushed.add(excess)
        below = {p: _uphill(moments[p], variables.below[p], length) for p in slopes}
        multiplier = _uphill(pushed, variables.multiplier, length)
        variables = subdomains.admissible(below, multiplier)
        walk = subdomains.walk(variables)
        best = _better(best, Ascent(variables, walk))
    return best


def ascent_bytes(root: Root) -> int:
    """Bytes that a step of an ascent takes per subdomain."""
    return root.candidates * root.propagation.bounds[-1].lower.element_size() * _ARRAYS


def _better(one: Ascent, two: Ascent) -> Ascent:
    """Of each subdomain the one with the higher bound."""
    ahead = two.walk.lower > one.walk.lower
    if bool(ahead.all()):
        return two

    def pick(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(per_sample(ahead, a), b, a)

    below = {p: pick(weights, two.variables.below[p]) for p, weights in one.variables.below.items()}
    coefficient = {p: pick(share, two.walk.coefficient[p]) for p, share in one.walk.coefficient.items()}
    walk = DualWalk(
        pick(one.walk.lower, two.walk.lower),
        pick(one.walk.lowest, two.walk.lowest),
        coefficient,
    )
    return Ascent(Variables(below, pick(one.variables.multiplier, two.variables.multiplier)), walk)


def _slopes(subdomains: Subdomains, variables: Variables, walk: DualWalk) -> tuple[dict[int, Tensor], Tensor]:
    """The bound's slopes in the weights, along the simplex, and in the multipliers."""
    values = subdomains.response(variables, walk)
    slopes = {}
    excess = torch.zeros_like(variables.multiplier)
    for view in subdomains.root.views:
        inputs = values[view.source].flatten(1)
        alive = subdomains.alive[view.position]
        weight = walk.coefficient[view.position].clamp_min(0).unsqueeze(1)
        slope = view.spread(inputs).mul_(weight).mul_(alive)
        slopes[view.position] = slope.sub_(slope.sum(1, keepdim=True) / alive.sum(1, keepdim=True))
        halfspaces = subdomains.halfspaces[view.position]
        if len(halfspaces):
            excess[halfspaces.domain, halfspaces.slot] = -halfspaces.values(inputs)
    return slopes, excess


def _start(like: Tensor) -> Moments:
    return Moments.start(0.9, like, squares=0.99, epsilon=1e-10)


def _uphill(moments: Moments, here: Tensor, length: float) -> Tensor:
    """After a step of Adam that makes the bound larger."""
    return here.addcdiv(moments.direction, moments.metric, value=length)
