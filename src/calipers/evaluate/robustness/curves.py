"""Robust-accuracy curves of minimum-norm attacks, and how near an attack comes to the best known.

Cina et al., AttackBench: Evaluating Gradient-based Attacks for Adversarial Examples (AAAI 2025), section 3. A curve is
a step function, which falls at the distance of every sample. Areas are those of the steps; the trapezoids of the
paper's code lie below them.

Distances are one per sample: 0 where the sample was wrong from the start, inf where nothing was found.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.core.errors import InputError
from calipers.core.seeds import generator

Distances = Float[Tensor, " samples"]


def robust_accuracy(distances: Distances, radius: float) -> float:
    """The share of samples that are further than the radius from every input that was found."""
    return float((_checked(distances) > radius).double().mean())


def area(distances: Distances, radius: float) -> float:
    """The area under the curve of robust accuracy from 0 to the radius."""
    return float(_checked(distances).double().clamp_max(radius).mean())


def envelope(attacks: Iterable[Distances]) -> Distances:
    """The best distance of every sample over all attacks. Raises InputError without any, or if numbers differ."""
    every = [_checked(distances) for distances in attacks]
    if not every or len({len(distances) for distances in every}) != 1:
        raise InputError(
            f"envelope: attacks on {[len(d) for d in every]} samples; accepted: one number, for one or more"
        )
    return torch.stack(every).amin(0)


def local_optimality(distances: Distances, best: Distances) -> float | None:
    """What an attack takes off the area of the clean accuracy, as a share of what the envelope takes off.

    best: the envelope of all attacks, this one included. The area goes up to the radius at which the envelope has
    broken all that it breaks. Where it breaks them all at that radius only, no area goes off, and the broken samples
    are counted instead. None where the envelope breaks nothing. Raises InputError if the attack is nearer than it.
    """
    share = _shares(*_pair(distances, best))
    return None if bool(share.isnan()) else float(share)


def local_optimality_interval(
    distances: Distances, best: Distances, seed: int = 0, draws: int = 1000
) -> tuple[float, float] | None:
    """A 95 % interval of the local optimality over the choice of samples (percentile bootstrap); None as there.

    The attacks that make the envelope are taken as they are.
    """
    distances, best = _pair(distances, best)
    drawn = torch.randint(len(best), (draws, len(best)), generator=generator(seed))
    shares = _shares(distances[drawn], best[drawn])
    shares = shares[~shares.isnan()]
    if not len(shares):
        return None
    low, high = shares.quantile(torch.tensor([0.025, 0.975], dtype=shares.dtype))
    return float(low), float(high)


def _pair(distances: Distances, best: Distances) -> tuple[Distances, Distances]:
    distances, best = _checked(distances).double(), _checked(best).double()
    nearer = (distances < best).nonzero()[:, 0].tolist()
    if nearer:
        i = nearer[0]
        raise InputError(
            f"local optimality: sample {i} is broken at {float(distances[i]):g}, the envelope has {float(best[i]):g}; "
            "accepted: an envelope over all attacks, this one included"
        )
    return distances, best


def _checked(distances: Distances) -> Distances:
    if not len(distances) or not bool((distances >= 0).all()):
        raise InputError(
            "distances: none, or not all of them are numbers >= 0; accepted: one or more, inf for unbroken"
        )
    return distances


def _shares(distances: Float[Tensor, "*draws samples"], best: Float[Tensor, "*draws samples"]) -> Tensor:
    """The local optimality over the last dimension, NaN where the envelope breaks nothing."""
    radius = best.where(best.isfinite(), torch.zeros_like(best)).amax(-1, keepdim=True)
    # Samples that were wrong from the start are off both areas.
    correct = best > 0
    took, at_most = (((radius - d.minimum(radius)) * correct).sum(-1) for d in (distances, best))
    broken, breakable = (((d <= radius) & correct).sum(-1).to(took.dtype) for d in (distances, best))
    return torch.where(at_most > 0, took / at_most, broken / breakable)
