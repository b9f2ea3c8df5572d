"""The one shape in which benchmarks print and write their numbers (docs/design.md)."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import calipers


@dataclass(frozen=True)
class Row:
    """A measured number beside the published one, if there is one."""

    name: str
    measured: float
    n: int
    unit: str
    paper: float | None = None
    low: float | None = None
    high: float | None = None
    seconds: float | None = None
    epsilon: float | None = None
    norm: str | None = None
    epsilon_unit: str | None = None


def write(command: str, rows: list[Row], target: str | None, seed: int = 0, warnings: tuple[str, ...] = ()) -> None:
    """A table on standard output, or JSON to a file ("-": alone on standard output)."""
    data = {
        "command": command,
        "version": calipers.__version__,
        "seed": seed,
        "rows": [vars(row) for row in rows],
        "warnings": list(warnings),
    }
    if target == "-":
        json.dump(data, sys.stdout, indent=2)
        return
    for row in rows:
        beside = "" if row.paper is None else f"   paper {row.paper:g}"
        spread = "" if row.low is None or row.high is None else f"   [{row.low:.4g}, {row.high:.4g}]"
        print(f"{row.name:60s} {row.measured:10.4g} {row.unit}{spread}   n = {row.n}{beside}")
    for warning in warnings:
        print(f"warning: {warning}")
    if target is not None:
        Path(target).write_text(json.dumps(data, indent=2) + "\n")
