"""How an attack shifts features, and adversaries grouped by that shift.

Guidotti & Leofante, "Repair of Convolutional Neural Networks using Convex Optimization: Preliminary Experiments",
section 5, leaves both for later. Shifts are compared by their directions: spherical k-means (Dhillon & Modha 2001) is
k-means on shifts of length 1, up to where its centres lie.
"""

import numpy as np
from jaxtyping import Float, Int
from sklearn.cluster import KMeans

from calipers.core.errors import InputError

_STARTS = 10


def directions(shifts: Float[np.ndarray, "samples features"]) -> Float[np.ndarray, "samples features"]:
    """Shifts of length 1; those that are 0 stay 0."""
    lengths = np.linalg.norm(shifts, axis=1, keepdims=True)
    return np.divide(shifts, lengths, out=np.zeros_like(shifts), where=lengths > 0)


def mean_resultant_length(shifts: Float[np.ndarray, "samples features"]) -> float:
    """Of the shifts' directions (Mardia & Jupp, "Directional Statistics", 2000).

    1 where all shifts point the same way, about 1 / sqrt(samples) by chance.
    """
    return float(np.linalg.norm(directions(shifts).mean(0)))


def cosine(one: Float[np.ndarray, "some features"], other: Float[np.ndarray, "others features"]) -> float:
    """Between the mean directions of two sets of shifts; 0 where one has none."""
    first, second = directions(directions(one).mean(0)[None]), directions(directions(other).mean(0)[None])
    return float((first @ second.T)[0, 0])


def groups_of(shifts: Float[np.ndarray, "samples features"], count: int, seed: int) -> Int[np.ndarray, " samples"]:
    """The group of every sample, by the direction of its shift; 0 is the largest.

    Raises InputError for fewer samples than groups, and for no group.
    """
    if not 1 <= count <= len(shifts):
        raise InputError(f"shifts: {count} groups of {len(shifts)} adversaries; accepted: 1 to {len(shifts)} groups")
    found = KMeans(count, n_init=_STARTS, random_state=seed).fit_predict(directions(shifts))
    sizes = np.bincount(found, minlength=count)
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(count)
    return rank[found]
