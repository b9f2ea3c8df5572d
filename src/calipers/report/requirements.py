"""Required levels beside what was measured."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from calipers.report.wording import NOT_MEASURED, plain_percent, radius


@runtime_checkable
class Required(Protocol):
    """A level that a rate must reach at a radius. measured: None where the rate was not measured, which fails."""

    @property
    def rate(self) -> str: ...
    @property
    def at_least(self) -> float: ...
    @property
    def epsilon(self) -> float: ...
    @property
    def measured(self) -> float | None: ...
    @property
    def passed(self) -> bool: ...


def asked(one: Required, unit: str) -> str:
    """What was required: "certified at least 90 % at 0.02"."""
    return f"{one.rate} at least {plain_percent(one.at_least)} at {radius(one.epsilon, unit)}"


def reached(one: Required) -> str:
    """What was measured for it."""
    return NOT_MEASURED if one.measured is None else plain_percent(one.measured)


def requirement_lines(requirements: Sequence[Required], unit: str) -> list[str]:
    """One line each for the terminal."""
    return [
        f"required {asked(one, unit)}: {reached(one)}, {'passed' if one.passed else 'FAILED'}" for one in requirements
    ]


def requirement_json(one: Required) -> dict[str, Any]:
    """The requirement for machines."""
    return {key: getattr(one, key) for key in ("rate", "at_least", "epsilon", "measured", "passed")}
