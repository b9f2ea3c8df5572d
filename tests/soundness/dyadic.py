"""Exact numbers for whole arrays: integers over a common power of two, which every float is."""

from dataclasses import dataclass
from typing import Any

import mpmath  # type: ignore[import-untyped]  # comes with torch, by way of sympy, without types
import numpy as np
import torch
from torch import Tensor

# Bits behind the point of what no power of two divides: roots and exponentials.
FINE = 300


@dataclass(frozen=True, eq=False)
class Dyadic:
    """The numbers numerator / 2**places; numerator is an array of Python's integers, which never overflow."""

    numerator: np.ndarray
    places: int

    @classmethod
    def of(cls, values: Tensor) -> "Dyadic":
        """What the floats of a tensor are, exactly. Raises ValueError for one that is not finite."""
        array = values.detach().double().numpy()
        if not np.isfinite(array).all():
            raise ValueError("exact numbers: not finite")
        mantissa, exponent = np.frexp(array)
        whole = np.ldexp(mantissa, 53).astype(np.int64)
        # Trailing zeros would grow with every product.
        used = whole != 0
        spare = np.where(used, _trailing_zeros(np.where(used, whole, 1)), 0)
        whole, exponent = whole >> spare, np.where(used, exponent - 53 + spare, 0)
        places = max(0, -int(exponent.min(initial=0)))
        return cls(np.asarray(whole.astype(object) << (exponent + places).astype(object)), places)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.numerator.shape)

    def __getitem__(self, index: Any) -> "Dyadic":
        return Dyadic(self.numerator[index], self.places)

    def reshape(self, *shape: int) -> "Dyadic":
        return Dyadic(self.numerator.reshape(*shape), self.places)

    def __add__(self, other: "Dyadic") -> "Dyadic":
        a, b, places = _aligned(self, other)
        return Dyadic(a + b, places)

    def __neg__(self) -> "Dyadic":
        return Dyadic(-self.numerator, self.places)

    def __sub__(self, other: "Dyadic") -> "Dyadic":
        return self + -other

    def __mul__(self, other: "Dyadic") -> "Dyadic":
        return Dyadic(self.numerator * other.numerator, self.places + other.places)

    def __matmul__(self, other: "Dyadic") -> "Dyadic":
        return Dyadic(self.numerator @ other.numerator, self.places + other.places)

    @property
    def transposed(self) -> "Dyadic":
        return Dyadic(self.numerator.T, self.places)

    def maximum(self, other: "Dyadic") -> "Dyadic":
        a, b, places = _aligned(self, other)
        return Dyadic(np.maximum(a, b), places)

    def minimum(self, other: "Dyadic") -> "Dyadic":
        return -(-self).maximum(-other)

    def apply(self, name: str) -> "Dyadic":
        """A function of mpmath, or `sigmoid`, rounded FINE bits behind the point."""
        function = _sigmoid if name == "sigmoid" else getattr(mpmath, name)
        # Saturated ends need no more: they are rounded to the same place.
        with mpmath.workprec(FINE + 80):
            flat = [
                int(mpmath.nint(mpmath.ldexp(function(mpmath.ldexp(mpmath.mpf(int(n)), -self.places)), FINE)))
                for n in self.numerator.ravel()
            ]
        return Dyadic(np.array(flat, dtype=object).reshape(self.shape), FINE)

    def over_root(self, square: "Dyadic") -> "Dyadic":
        """self / sqrt(square), rounded FINE bits behind the point."""
        with mpmath.workprec(2 * FINE):
            roots = np.array(
                [
                    int(mpmath.nint(mpmath.ldexp(1 / mpmath.sqrt(mpmath.ldexp(int(n), -square.places)), FINE)))
                    for n in square.numerator.ravel()
                ],
                dtype=object,
            )
        return self * Dyadic(roots.reshape(square.shape), FINE)

    def not_positive(self, tolerance_bits: int | None = None) -> np.ndarray:
        """Where the number is at most 0; with rounded functions on the way, surely so: below -2**-tolerance_bits."""
        if tolerance_bits is None:
            return (self.numerator <= 0).astype(bool)
        return ((self.numerator << tolerance_bits) <= -(1 << self.places)).astype(bool)

    def floats(self) -> Tensor:
        """The nearest numbers of double precision."""
        values = [float(mpmath.ldexp(mpmath.mpf(int(n)), -self.places)) for n in self.numerator.ravel()]
        return torch.tensor(values, dtype=torch.float64).reshape(self.shape)


def joined(parts: list[Dyadic]) -> Dyadic:
    """Side by side along the last dimension."""
    places = max(part.places for part in parts)
    return Dyadic(np.concatenate([part.numerator << (places - part.places) for part in parts], -1), places)


def _aligned(a: Dyadic, b: Dyadic) -> tuple[np.ndarray, np.ndarray, int]:
    places = max(a.places, b.places)
    return a.numerator << (places - a.places), b.numerator << (places - b.places), places


def _trailing_zeros(whole: np.ndarray) -> np.ndarray:
    lowest = whole & -whole
    return np.log2(lowest.astype(np.float64)).astype(np.int64)


def _sigmoid(x: mpmath.mpf) -> mpmath.mpf:
    return 1 / (1 + mpmath.exp(-x))
