"""Levels that a run has to reach, such as "certified >= 0.9 @ 0.02"."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from calipers.core.errors import InputError
from calipers.core.radius import as_radius
from calipers.evaluate.robustness.summary import RobustnessReport

RATES = ("clean", "empirical", "certified")
_FORM = re.compile(r"\s*([a-z]+)\s*(?:>=|=>|≥)\s*([^@\s]+)\s*(%?)\s*(?:(?:@|at\b)\s*(.+?)\s*)?", re.IGNORECASE)
_ACCEPTED = 'accepted: "certified >= 0.9 @ 0.02", "empirical >= 80 % @ 8/255" or "clean >= 0.95"'


@dataclass(frozen=True)
class Requirement:
    """A rate over all samples that must be at least `at_least`, a share, at a radius of the run (clean: at 0)."""

    rate: str
    at_least: float
    epsilon: float

    def check(self, numbers: RobustnessReport) -> "RequirementOutcome":
        """What the run measured for it."""
        epsilon = None if self.rate == "clean" else self.epsilon
        rows = [row for row in numbers.rates if row.name == self.rate and _same(row.epsilon, epsilon)]
        sides = {"clean": True, "empirical": bool(numbers.task.attacks), "certified": bool(numbers.task.verifiers)}
        return RequirementOutcome(
            self.rate, self.at_least, self.epsilon, rows[0].measured if rows and sides[self.rate] else None
        )

    def __str__(self) -> str:
        where = "" if self.rate == "clean" else f" @ {self.epsilon!r}"
        return f"{self.rate} >= {self.at_least!r}{where}"


@dataclass(frozen=True)
class RequirementOutcome:
    """A requirement beside the share that was measured; None where nothing was, which does not pass."""

    rate: str
    at_least: float
    epsilon: float
    measured: float | None

    @property
    def passed(self) -> bool:
        return self.measured is not None and self.measured >= self.at_least

    def __str__(self) -> str:
        where = "" if self.rate == "clean" else f" at {self.epsilon:g}"
        found = "not measured" if self.measured is None else f"{self.measured:.2%}"
        return f"{'passed' if self.passed else 'FAILED'}: {self.rate} at least {self.at_least:.2%}{where}: {found}"


def as_requirements(given: Any, epsilons: Sequence[float]) -> tuple[Requirement, ...]:
    """One requirement or several, as text or records. epsilons: the radii of the run; one need not be said again.

    Raises InputError for another form, and for a radius that the run does not measure.
    """
    several = () if given is None else (given,) if isinstance(given, str | Requirement) else given
    if not isinstance(several, Iterable):
        raise InputError(f"require: {given!r} is no requirement; {_ACCEPTED}")
    return tuple(one if isinstance(one, Requirement) else _parse(one, epsilons) for one in several)


def _parse(text: Any, epsilons: Sequence[float]) -> Requirement:
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if found is None or found[1].lower() not in RATES:
        raise InputError(f"require: {text!r} is no requirement; {_ACCEPTED}")
    rate = found[1].lower()
    share = as_radius(found[2].removesuffix("%"), f"require: {text!r}: the level")
    share /= 100 if found[3] or found[2].endswith("%") else 1
    if share > 1:
        raise InputError(f"require: {text!r}: a level of {share:g} is above 1; accepted: 0 to 1, or 0 % to 100 %")
    if rate == "clean":
        if found[4] is not None:
            raise InputError(f"require: {text!r}: clean accuracy has no radius; accepted: clean >= {share:g}")
        return Requirement(rate, share, 0.0)
    return Requirement(rate, share, _radius(text, found[4], epsilons))


def _radius(text: str, radius: str | None, epsilons: Sequence[float]) -> float:
    known = ", ".join(f"{epsilon:g}" for epsilon in epsilons)
    if radius is None:
        if len(epsilons) == 1:
            return epsilons[0]
        raise InputError(f"require: {text!r} names no radius, the run has {known}; write it after @")
    asked = as_radius(radius, f"require: {text!r}: the radius")
    for epsilon in epsilons:
        if _same(epsilon, asked):
            return epsilon
    raise InputError(f"require: {text!r}: epsilon {asked:g} is not measured; accepted: a radius of the run ({known})")


def _same(one: float | None, other: float | None) -> bool:
    """Equal as far as six digits tell, which is how radii are printed."""
    return one == other or (one is not None and other is not None and math.isclose(one, other, rel_tol=1e-5))
