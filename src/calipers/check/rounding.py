"""Rounding errors of float64, bounded from above (Higham 2002, section 3.1)."""

import numpy as np

Array = np.ndarray

UNIT = 2.0**-53
# Of single precision, in which networks are deployed.
SINGLE = 2.0**-24
# Sigmoid, tanh and softplus of the libraries are off by fewer such units, of 1 or of the value where it is larger.
SMOOTH = 8
# Where numbers are too small for single precision.
TINY = 2.0**-126
SMALLEST = 2.0**-149  # the least number of single precision


def gamma(terms: int) -> float:
    """A bound of the relative error of `terms` roundings in any order, with room for its own evaluation."""
    return 1.01 * (terms + 4) * UNIT


def deployed_gamma(roundings: int) -> float:
    """The same for sums that a network in single precision computes, in any order; infinite where that says nothing."""
    share = roundings * SINGLE
    return 1.01 * share / (1 - share) if share < 0.5 else np.inf


def below(value: Array) -> Array:
    """The next number towards minus infinity: at most the real result of one operation."""
    return np.nextafter(value, -np.inf)


def above(value: Array) -> Array:
    """The next number towards infinity."""
    return np.nextafter(value, np.inf)
