"""Rounding errors of float64, bounded from above (Higham 2002, section 3.1)."""

import numpy as np

from calipers.check.layers import Array

UNIT = 2.0**-53


def gamma(terms: int) -> float:
    """A bound of the relative error of `terms` roundings in any order, with room for its own evaluation."""
    return 1.01 * (terms + 4) * UNIT


def below(value: Array) -> Array:
    """The next number towards minus infinity: at most the real result of one operation."""
    return np.nextafter(value, -np.inf)


def above(value: Array) -> Array:
    """The next number towards infinity."""
    return np.nextafter(value, np.inf)
