"""All numbers of a report as JSON for machines."""

import json
import math
from dataclasses import asdict, fields
from typing import Any

from calipers.core.tables import Row, to_json
from calipers.evaluate.robustness.summary import Bracket, RobustnessReport
from calipers.report.rate_groups import JAWS


def all_numbers(report: RobustnessReport) -> dict[str, Any]:
    """The project's machine-readable shape, and beyond it the specification, the classes and every bracket.

    Brackets are kept as columns, which takes a third of the room; `brackets_of` reads them back.
    """
    columns = {field.name: [getattr(row, field.name) for row in report.brackets] for field in fields(Bracket)}
    extra = {
        "created": report.created,
        "seconds": report.seconds,
        "status": report.status,
        "task": report.task.to_dict(),
        "per_class": [{"label": label, "rows": [asdict(row) for row in rows]} for label, rows in report.per_class],
        "brackets": columns,
        "sanity": [asdict(warning) for warning in report.warnings],
    }
    return {**rates_json(report), **extra}


def rates_json(report: RobustnessReport) -> dict[str, Any]:
    """The project's machine-readable shape (docs/design.md) of the rates alone."""
    task = report.task
    rows = [Row.of_rate(rate.name, rate, task.norm, task.unit) for rate in report.rates]
    rows += _not_measured(report)
    warnings = [f"{warning.message} ({warning.evidence})" for warning in report.warnings]
    return {
        **to_json(report.command, rows, task.seed, warnings, task.versions["calipers"]),
        "run": report.run_id,
    }


def _not_measured(report: RobustnessReport) -> list[Row]:
    """A row without a number for each jaw that nothing looked at, or not yet: null, which is another thing than 0."""
    task = report.task
    there = {(rate.name, rate.epsilon) for rate in report.rates}
    return [
        Row(name, None, 0, "fraction", epsilon=epsilon, norm=task.norm, epsilon_unit=task.unit)
        for epsilon in task.epsilons
        for name in JAWS
        if (name, epsilon) not in there
    ]


def brackets_of(columns: dict[str, list[Any]]) -> tuple[Bracket, ...]:
    """Inverse of the columns of brackets, also after a trip through JSON."""
    rows = zip(*(columns[field.name] for field in fields(Bracket)), strict=True)
    return tuple(
        Bracket(sample, label, prediction, certified, distance, tuple(undecided), tuple(timed_out))
        for sample, label, prediction, certified, distance, undecided, timed_out in rows
    )


def script_json(value: dict[str, Any]) -> str:
    """Compact JSON that cannot end the script element it stands in."""
    text = json.dumps(finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def finite(value: Any) -> Any:
    """The value with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
