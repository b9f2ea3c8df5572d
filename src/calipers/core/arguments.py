"""Arguments of functions that people call: what is wrong with one is said in its own words."""

from enum import StrEnum
from typing import Any, TypeVar

from calipers.core.errors import InputError

E = TypeVar("E", bound=StrEnum)


def whole_number(name: str, value: Any, least: int) -> int:
    """An integer of any kind, at least `least`. Raises InputError."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < least:
        raise InputError(f"{name}: {value!r} is not accepted; accepted: a whole number >= {least}")
    return int(value.__index__())


def amount(name: str, value: Any) -> float:
    """A number >= 0, infinity included. Raises InputError."""
    try:
        number = float("nan") if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not number >= 0:
        raise InputError(f"{name}: {value!r} is not accepted; accepted: a number >= 0")
    return number


def member(name: str, value: Any, kind: type[E]) -> E:
    """One of a fixed set of words. Raises InputError that lists them."""
    if isinstance(value, str) and value.lower() in list(kind):
        return kind(value.lower())
    raise InputError(f"{name}: {value!r} is not accepted; accepted: {', '.join(kind)}")
