"""Accepts a certificate or rejects it, by recomputing everything it claims."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from calipers.check.certificate import Certificate, Claim, Halving, Leaf, Part
from calipers.check.enclosure import Enclosure, Split
from calipers.check.network import Network
from calipers.check.region import Region


class RejectedError(ValueError):
    """A certificate does not prove its claim."""


def check(
    certificate: Certificate, network: Network, advance: Callable[[str, int], None] = lambda doing, done: None
) -> float:
    """The least margin that the evidence proves, which is positive. Raises RejectedError with the reason otherwise.

    advance: told after every part.
    """
    claim = certificate.claim
    if claim.network != network.digest:
        raise RejectedError(
            f"it speaks of a network with digest {claim.network[:12]}, this one has {network.digest[:12]}"
        )
    outputs = int(np.prod(network.nodes[-1].shape))
    if claim.C.shape != (len(claim.d), outputs):
        raise RejectedError(f"its specification has shape {claim.C.shape}, the network {outputs} outputs")
    region = _region(claim)
    if claim.center.shape != network.nodes[0].shape:
        raise RejectedError(f"its inputs have shape {claim.center.shape}, the network takes {network.nodes[0].shape}")
    if not _covers([part.halvings for part in certificate.parts], _same_cut):
        raise RejectedError("its boxes do not cover the set")
    if claim.norm not in ("box", "linf") and any(part.halvings for part in certificate.parts):
        raise RejectedError(f"a ball of {claim.norm} cannot be halved")
    least = np.inf
    for done, part in enumerate(certificate.parts, start=1):
        least = min(least, _part(network, region, part, claim))
        advance("part", done)
    return float(least)


def check_part(part: Part, claim: Claim, network: Network) -> float:
    """The least margin that one part proves on its box alone. Raises RejectedError with the reason otherwise."""
    return _part(network, _region(claim), part, claim)


def _part(network: Network, region: Region, part: Part, claim: Claim) -> float:
    for halving in part.halvings:
        region = region.halved(halving.axis, halving.cut, halving.high)
    if (region.lower > region.upper).any():
        raise RejectedError("one of its boxes is empty")
    for row in range(len(claim.d)):
        if not _covers([leaf.splits for leaf in part.leaves if row in leaf.rows], _same_split):
            raise RejectedError(f"its splits do not cover all cases of row {row}")
    try:
        enclosure = Enclosure.of(network, region, part.slopes, paired=part.paired, tightened=part.tightened)
        return min(_leaf(enclosure, leaf, claim) for leaf in part.leaves)
    except (KeyError, IndexError, ValueError) as error:
        if isinstance(error, RejectedError):
            raise
        raise RejectedError(f"its evidence does not fit the network ({error})") from error


def _leaf(enclosure: Enclosure, leaf: Leaf, claim: Claim) -> float:
    if len(leaf.multipliers) != len(leaf.splits) or not (leaf.multipliers >= 0).all():
        raise RejectedError(f"a leaf with {len(leaf.splits)} splits has multipliers {leaf.multipliers.tolist()}")
    found = enclosure.split(leaf.splits, leaf.slopes)
    if found is None:
        return np.inf  # no input keeps these splits
    rows = list(leaf.rows)
    lower = found.rows(claim.C[rows], claim.d[rows], leaf.splits, leaf.multipliers)
    if not (lower > 0).all():
        worst = int(np.argmin(np.where(np.isnan(lower), -np.inf, lower)))
        raise RejectedError(f"row {rows[worst]} is proven down to {lower[worst]:.3g} only, which is not positive")
    return float(lower.min())


def _region(claim: Claim) -> Region:
    numbers = [claim.center, claim.scale, claim.C, claim.d, np.array(claim.radius)]
    if not all(np.isfinite(array).all() for array in numbers):
        raise RejectedError("it holds numbers that are not finite")
    match claim.norm:
        case "box":
            if (claim.center > claim.scale).any():
                raise RejectedError("its box is empty")
            return Region.box(claim.center, claim.scale)
        case "linf" | "l2" | "l1":
            if claim.radius < 0 or not (claim.scale >= 0).all():
                raise RejectedError("its ball has a negative radius")
            return Region.ball(claim.center, claim.radius, claim.scale, claim.norm, claim.domain)
        case norm:
            raise RejectedError(f"it has a set of unknown kind {norm!r}")


def _same_cut(one: Halving, two: Halving) -> bool | None:
    """True for the same side of one cut, False for its other side, None for another cut."""
    return None if (one.axis, one.cut) != (two.axis, two.cut) else one.high == two.high


def _same_split(one: Split, two: Split) -> bool | None:
    if (one.position, one.output) != (two.position, two.output):
        return None
    if (one.kept, one.dropped) == (two.kept, two.dropped):
        return True
    return False if (one.kept, one.dropped) == (two.dropped, two.kept) else None


def _covers(paths: Sequence[Sequence[Any]], same: Callable[[Any, Any], bool | None], depth: int = 0) -> bool:
    """Whether paths are the leaves of a tree in which every branching has both sides."""
    pending = [(list(paths), depth)]
    while pending:
        group, level = pending.pop()
        if not group:
            return False
        if any(len(path) == level for path in group):
            continue  # this one alone covers what the others cut up
        first = group[0][level]
        sides = [same(first, path[level]) for path in group]
        if any(side is None for side in sides):
            return False
        pending.append(([path for path, side in zip(group, sides, strict=True) if side], level + 1))
        pending.append(([path for path, side in zip(group, sides, strict=True) if not side], level + 1))
    return True
