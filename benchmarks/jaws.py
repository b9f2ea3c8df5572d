"""Whether the proofs contradict the attacks of a benchmark, and how far apart they are."""

import torch
from torch import Tensor

from benchmarks.output import Row
from benchmarks.targets import Target
from calipers.bounds import PAIRED, WorkBudget
from calipers.core.distances import Distance
from calipers.core.problem import Specification
from calipers.core.sets import LpBall
from calipers.graph.from_torch import from_module

STEPS = 4
# Shares of the distance at which an attack broke the image, from which on nothing may be proven.
BROKEN = (1.0, 1.1)


def certified(target: Target, distance: Distance, radii: Tensor) -> Tensor:
    """Which images the paired bound proves at their own radius."""
    assert distance.norm is not None
    labels = Specification.classified_as(target.y, 10)
    sets = LpBall(target.x, radii, distance.norm, torch.ones(()), (0.0, 1.0))
    with torch.no_grad():
        found = PAIRED.margins(from_module(target.module, target.x[:2]), sets, labels, WorkBudget())
    return found.proven


def invariant(target: Target, distance: Distance, best: Tensor) -> list[Row]:
    """Proofs where an attack broke the image, of all pairs of an image and a radius; and how far proofs reach.

    The share of the distance that is proven is searched by bisection. best: the distances of the nearest adversarial
    examples of all attacks.
    """
    broken = best.isfinite()
    reach = best.where(broken, torch.zeros(()))
    low, high = torch.zeros(len(best)), torch.ones(len(best))
    for _ in range(STEPS):
        middle = (low + high) / 2
        proven = certified(target, distance, middle * reach)
        low, high = middle.where(proven, low), high.where(proven, middle)
    wrong = sum(int((certified(target, distance, share * reach) & broken).sum()) for share in BROKEN)
    n = int(broken.sum())
    pairs = n * (STEPS + len(BROKEN))
    label = f"{target.name} {distance}"
    return [
        Row(f"{label} proven though broken, of {pairs} pairs", wrong, pairs, "pairs"),
        Row(f"{label} certified radius / nearest distance", float(low[broken].mean()), n, "ratio"),
    ]
