"""Studies of reproductions: their table, and the page of one."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

import calipers
from calipers.core.tables import Row, to_json
from calipers.core.tasks import Run
from calipers.evaluate.reproduce import StudyGroup
from calipers.evaluate.reproduce.study import CODEC
from calipers.report.frame import TemplateSection, View
from calipers.store.store import Store


def study_table(groups: Sequence[StudyGroup]) -> Table:
    """A line per row, the spread over seeds beside its mean."""
    seeds = max(len(group.findings) for group in groups)
    title = "One seed; 95 % intervals" if seeds == 1 else f"Means over {seeds} seeds, and their standard deviations"
    table = Table(title=title, title_justify="left", title_style="dim", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("what", overflow="fold")
    for head in ("epsilon", "measured", "± spread" if seeds > 1 else "95 % interval", "paper", "n"):
        table.add_column(head, justify="right", no_wrap=True)
    for row, spread in (pair for group in groups for pair in _pairs(group.rows(), len(group.findings))):
        table.add_row(
            row.name,
            "" if row.epsilon is None else f"{row.epsilon:g}",
            Text(_number(row.measured, row.unit), style="bold"),
            _number(spread.measured, row.unit) if spread is not None else _interval(row),
            _number(row.paper, row.unit),
            str(row.n),
        )
    return table


def study_view(store: Store, run: Run) -> View:
    """The rows of one study."""
    records = sorted(store.records(run.run_id, CODEC), key=lambda record: record.place)
    rows = [Row(**row) for record in records for row in record.rows]
    numbers = to_json(run.command, rows, run.task["seed"], [])
    context = {
        "title": run.title,
        "status": run.status,
        "rows": [(row, _number(row.measured, row.unit), _interval(row), _number(row.paper, row.unit)) for row in rows],
        "command": run.command,
    }

    def terminal(width: int) -> Iterable[RenderableType]:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for head in ("what", "epsilon", "measured", "95 % interval", "n"):
            table.add_column(head, justify="left" if head == "what" else "right")
        for row in rows:
            epsilon = "" if row.epsilon is None else f"{row.epsilon:g}"
            table.add_row(row.name, epsilon, _number(row.measured, row.unit), _interval(row), str(row.n))
        yield table

    sections = (TemplateSection("study.html.j2", context),)
    return View(run.run_id, run.title, "study", calipers.__version__, sections, numbers, numbers, terminal)


def _pairs(rows: Sequence[Row], seeds: int) -> list[tuple[Row, Row | None]]:
    if seeds == 1:
        return [(row, None) for row in rows]
    return list(zip(rows[::2], rows[1::2], strict=True))


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit == "fraction":
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _interval(row: Row) -> str:
    return "" if row.low is None or row.high is None else f"{100 * row.low:.1f} - {100 * row.high:.1f}"
