"""Radii as people write them: 0.03, "8/255", "0.5/255", numpy scalars; one or a list of them."""

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from calipers.core.errors import InputError

ACCEPTED = 'accepted: a finite number >= 0, or text such as "0.03" or "8/255"'


def as_radius(value: Any, name: str = "epsilon") -> float:
    """One radius as a number. name: of the argument, for the InputError that says what is wrong with it."""
    number = _fraction(value) if isinstance(value, str) else _number(value)
    if number is None:
        raise InputError(f"{name}: {value!r} is not a radius; {ACCEPTED}")
    if not (math.isfinite(number) and number >= 0):
        raise InputError(f"{name}: {value} is not a radius; {ACCEPTED}")
    return number


def as_radii(value: Any, name: str = "epsilon") -> tuple[float, ...]:
    """One radius or several (a sequence, an array, text with commas), in the order given. InputError for none."""
    if isinstance(value, str):
        parts: Iterable[Any] = [part for part in value.split(",") if part.strip()]
    elif isinstance(value, Iterable) and getattr(value, "ndim", None) != 0:  # 0: a tensor of one number
        parts = list(value)
    else:
        parts = [value]
    radii = tuple(as_radius(part, name) for part in parts)
    if not radii:
        raise InputError(f"{name}: none was given; accepted: one or more radii")
    return radii


def _fraction(text: str) -> float | None:
    """A decimal number, or the quotient of two; exact until the end. None for other text."""
    try:
        above, *below = (Fraction(part.strip()) for part in text.split("/"))
        return float(above / below[0]) if len(below) == 1 else float(above) if not below else None
    except (ValueError, ZeroDivisionError, OverflowError):
        return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
