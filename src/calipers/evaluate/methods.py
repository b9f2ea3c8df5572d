"""Attacks and verifiers as callers give them: one or several, by name or as objects."""

from collections.abc import Iterable
from typing import Any

from calipers.attacks import (
    ATTACKS,
    MINIMUM_NORM_ATTACKS,
    Attack,
    MinimumNormAttack,
    attack_named,
    minimum_norm_attack_named,
)
from calipers.attacks.presets import GROUPS, expand
from calipers.core.errors import InputError
from calipers.core.norms import Norm
from calipers.core.registry import unknown
from calipers.verify import VERIFIERS, Resources, Verifier


def attacks_of(given: Any, norm: Norm, propagations: int) -> tuple[Attack | MinimumNormAttack, ...]:
    """The attacks of `measure`: names (also of groups) first, then objects. Raises InputError."""
    known = {*ATTACKS, *MINIMUM_NORM_ATTACKS, *GROUPS}
    several = listed("attack", given, (Attack, MinimumNormAttack))
    for one in several:
        if isinstance(one, str) and ":" not in one and one not in known:
            raise unknown("attack", one, known)
    names = expand(tuple(one for one in several if isinstance(one, str)), norm)
    named = [MINIMUM_NORM_ATTACKS[n](propagations) if n in MINIMUM_NORM_ATTACKS else attack_named(n) for n in names]
    return (*named, *(one for one in several if not isinstance(one, str)))


def nearest_attacks_of(given: Any, propagations: int) -> tuple[MinimumNormAttack, ...]:
    """The minimum-norm attacks of `attack`, in the order given. Raises InputError."""
    several = listed("attack", given, (MinimumNormAttack,))
    fixed = next((one for one in several if isinstance(one, str) and one in ATTACKS), None)
    if fixed is not None:
        raise InputError(f"attack {fixed!r} searches balls of a given radius; `measure` runs it")
    return tuple(minimum_norm_attack_named(one)(propagations) if isinstance(one, str) else one for one in several)


def verifiers_of(given: Any, resources: Resources) -> tuple[Verifier, ...]:
    """The verifiers of `measure`, in the order given. Raises InputError."""
    several = listed("verifier", given, (Verifier,))
    return tuple(VERIFIERS[one](resources) if isinstance(one, str) else one for one in several)


def listed(kind: str, given: Any, protocols: tuple[type, ...]) -> tuple[Any, ...]:
    """One or several methods as a tuple of names and objects. Text may hold several names and commas; "none": none.

    Raises InputError for what is neither a name nor such a method.
    """
    if given is None:
        return ()
    several = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str | type) else (given,)
    found: list[Any] = []
    for one in several:
        if isinstance(one, str):
            found += [name for part in one.split(",") if (name := part.strip()) and name != "none"]
        elif isinstance(one, type):
            raise InputError(f"{kind}: {one.__name__} is a class; accepted: an object such as {one.__name__}()")
        elif isinstance(one, protocols):
            found.append(one)
        else:
            wanted = " or ".join(protocol.__name__ for protocol in protocols)
            raise InputError(
                f"{kind}: {one!r} is no {kind}; accepted: a name, or an object with the methods of {wanted}"
            )
    return tuple(found)
