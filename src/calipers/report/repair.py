"""The page of a repair: what changed, what is proven, and what it cost."""

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

import calipers
from calipers.core.rates import Rate
from calipers.core.tables import Row, to_json
from calipers.core.tasks import Run
from calipers.evaluate.repair.numbers import numbers_of, rates_of
from calipers.evaluate.repair.task import CODEC
from calipers.report.frame import TemplateSection, View
from calipers.report.terminal import warning_parts
from calipers.report.wording import seconds
from calipers.store.store import Store

LABELS = {
    "fixed": "repaired failures that are right",
    "held-out-fixed": "failures it has not seen that are right",
    "clean:before": "clean accuracy before",
    "clean": "clean accuracy after",
    "empirical:before": "under attack before",
    "empirical": "under a fresh attack after",
    "transferred": "with the old adversaries put in place",
    "certified-balls": "repaired balls that are proven",
}


def repair_view(store: Store, run: Run) -> View:
    """Before and after by both jaws."""
    records = store.records(run.run_id, CODEC)
    numbers = numbers_of(records)
    threat = run.task["threat"]
    rates = rates_of(numbers, threat["epsilon"]) if numbers else []
    measured = [Row.of_rate(one.name, one, threat["norm"], threat["unit"] or "pixel") for one in rates]
    warnings = store.warnings(run.run_id)
    said = [f"{warning.message} ({warning.evidence})" for warning in warnings]
    outcome = store.metric(run.run_id, "repair") or {}
    rows = to_json(
        run.command,
        measured,
        run.task["seed"],
        said,
    )
    context = {
        "title": run.title,
        "status": run.status,
        "task": run.task,
        "numbers": numbers,
        "outcome": outcome,
        "rates": [(LABELS[one.name], one) for one in rates],
        "pairs": _pairs(numbers),
        "classes": list(numbers.get("per_class", {}).items()),
        "warnings": warnings,
        "seconds": seconds,
        "command": run.command,
    }
    sections = (TemplateSection("repair.html.j2", context),)
    return View(
        run_id=run.run_id,
        title=run.title,
        label="repair",
        version=calipers.__version__,
        sections=sections,
        numbers={**rows, "repair": numbers, "task": run.task},
        rows={**rows, "repair": numbers, "task": run.task},
        terminal=lambda width: _terminal(numbers, outcome, rates, warnings),
    )


def _pairs(numbers: dict[str, Any]) -> list[tuple[str, float, float]]:
    """What, before, after: shares."""
    if not numbers.get("samples"):
        return []
    n = numbers["samples"]
    return [
        ("clean", numbers["right_before"] / n, numbers["right_after"] / n),
        ("under attack", numbers["robust_before"] / n, numbers["robust_after"] / n),
    ]


def _terminal(
    numbers: dict[str, Any], outcome: dict[str, Any], rates: list[Rate], warnings: Any
) -> Iterator[RenderableType]:
    if not numbers:
        yield Text("No change was found yet.")
        return
    yield Text(
        f"{numbers['fixed']} of {numbers['failures']} failures are repaired, by a change of {numbers['layer']} of size "
        f"{numbers['size']:.1%} in {numbers['changed']} of {numbers['weights']} weights, solved in "
        f"{seconds(numbers['seconds'])}."
    )
    if "drawdown_pp" in numbers:
        yield Text(
            f"Clean accuracy: {_signed(-numbers['drawdown_pp'])} percentage points ({numbers['lost']} samples lost, "
            f"{numbers['gained']} gained of {numbers['samples']})."
        )
    if numbers["balls"]:
        certified = len(numbers["certificates"])
        yield Text(f"{numbers['verified']} of {numbers['balls']} balls are proven, {certified} with a certificate.")
    table = Table(box=None, header_style="bold")
    for column in ("what", "measured", "95 % interval", "n"):
        table.add_column(column, justify="left" if column == "what" else "right", no_wrap=True)
    for one in rates:
        table.add_row(LABELS[one.name], f"{one.measured:.1%}", f"{one.low:.1%} - {one.high:.1%}", str(one.n))
    yield table
    yield Text(
        "Other inputs near a repaired one can still fail: a last layer cannot create robustness that features lack."
    )
    yield from warning_parts(tuple(warnings))


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-0.00", "0.00").replace("+0.00", "0.00")
