"""Attacks and verifiers as callers give them: one or several, by name or as objects."""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
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
from calipers.bounds.budget import WorkBudget
from calipers.core.errors import InputError
from calipers.core.norms import Norm
from calipers.core.registry import unknown
from calipers.core.resources import Resources
from calipers.verify import VERIFIERS, Limitable, Limits, Verifier


def attacks_of(given: Any, norm: Norm, resources: Resources) -> tuple[Attack | MinimumNormAttack, ...]:
    """The attacks of `measure`: names (also of groups) first, then objects. Raises InputError."""
    known = {*ATTACKS, *MINIMUM_NORM_ATTACKS, *GROUPS}
    several = listed("attack", given, (Attack, MinimumNormAttack))
    for one in several:
        if isinstance(one, str) and ":" not in one and one not in known:
            raise unknown("attack", one, known)
    names = expand(tuple(one for one in several if isinstance(one, str)), norm)
    named = [MINIMUM_NORM_ATTACKS[n](resources.passes) if n in MINIMUM_NORM_ATTACKS else attack_named(n) for n in names]
    return (*named, *(attack_within(one, resources) for one in several if not isinstance(one, str)))


def nearest_attacks_of(given: Any, resources: Resources) -> tuple[MinimumNormAttack, ...]:
    """The minimum-norm attacks of `attack`, in the order given. Raises InputError."""
    several = listed("attack", given, (MinimumNormAttack,))
    fixed = next((one for one in several if isinstance(one, str) and one in ATTACKS), None)
    if fixed is not None:
        raise InputError(f"attack {fixed!r} searches balls of a given radius; `measure` runs it")
    return tuple(
        minimum_norm_attack_named(one)(resources.passes) if isinstance(one, str) else attack_within(one, resources)
        for one in several
    )


def verifiers_of(given: Any, resources: Resources) -> tuple[Verifier, ...]:
    """The verifiers of `measure`, in the order given. Raises InputError."""
    several = listed("verifier", given, (Verifier,))
    limits = limits_of(resources)
    return tuple(VERIFIERS[one](limits) if isinstance(one, str) else verifier_within(one, resources) for one in several)


def limits_of(resources: Resources) -> Limits:
    """What a verifier that is given by name may spend."""
    return Limits(WorkBudget(resources.bytes), resources.seconds)


def attack_within(attack: Any, resources: Resources) -> Any:
    """An attack that is given as an object, with the propagations that were asked for, if any were."""
    if resources.propagations is None or not is_dataclass(attack) or isinstance(attack, type):
        return attack
    known = {one.name for one in fields(attack)}
    return replace(attack, propagations=resources.propagations) if "propagations" in known else attack


def verifier_within(verifier: Verifier, resources: Resources) -> Verifier:
    """A verifier that is given as an object, with the memory and the time that were asked for, if any were."""
    if not isinstance(verifier, Limitable):
        return verifier
    budget, limits = verifier.limits.budget, verifier.limits
    if resources.memory is not None:
        budget = replace(budget, bytes=resources.bytes)
    seconds = limits.timeout if resources.timeout is None else resources.timeout
    return verifier.limited(replace(limits, budget=budget, timeout=seconds))


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
