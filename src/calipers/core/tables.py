"""Rows of measured numbers in the one machine-readable shape of the project (docs/design.md)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import calipers
from calipers.core.rates import Rate


@dataclass(frozen=True)
class Row:
    """A measured number beside the published one, if there is one.

    measured: None for a figure that only the paper has. unit: "fraction", "s/image", ... low, high: a 95 % interval.
    seconds: per sample.
    """

    name: str
    measured: float | None
    n: int
    unit: str
    paper: float | None = None
    low: float | None = None
    high: float | None = None
    seconds: float | None = None
    epsilon: float | None = None
    norm: str | None = None
    epsilon_unit: str | None = None

    @classmethod
    def of_rate(cls, name: str, rate: Rate, norm: str, unit: str, paper: float | None = None) -> "Row":
        """A rate of a run under the name that a table gives it."""
        where = (None, None) if rate.epsilon is None else (norm, unit)
        spread = (rate.low, rate.high, rate.seconds)
        return cls(name, rate.measured, rate.n, "fraction", paper, *spread, rate.epsilon, *where)


def to_json(
    command: str,
    rows: Sequence[Row],
    seed: int | None,
    warnings: Sequence[str] = (),
    version: str = calipers.__version__,
) -> dict[str, Any]:
    """The machine-readable form of a table. version: of calipers, where the numbers are older than the call."""
    return {
        "command": command,
        "version": version,
        "seed": seed,
        "rows": [asdict(row) for row in rows],
        "warnings": list(warnings),
    }
