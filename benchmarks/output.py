"""How benchmarks print and write their numbers."""

import json
import sys
from pathlib import Path

from calipers.core.tables import Row, to_json

__all__ = ["Row", "write"]


def write(command: str, rows: list[Row], target: str | None, seed: int = 0, warnings: tuple[str, ...] = ()) -> None:
    """A table on standard output, or JSON to a file ("-": alone on standard output)."""
    data = to_json(command, rows, seed, warnings)
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
