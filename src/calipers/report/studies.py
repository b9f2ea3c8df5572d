"""Studies of reproductions: their table, the figure of their lines, and the page of one."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

import calipers
from calipers.core.files import whole
from calipers.core.tables import Row, to_json
from calipers.core.tasks import Run
from calipers.evaluate.reproduce import Lines, Reproduced, StudyGroup, grouped
from calipers.evaluate.reproduce.study import CODEC, Point
from calipers.report.frame import TemplateSection, View
from calipers.report.palette import ATTACK, GAP, INK, MUTED, PAPER, PROOF
from calipers.report.svg import STYLE
from calipers.store.store import Store

# By the order in which lines come: what there was before in grey, what was repaired in the colours of the page.
_LINES = (
    (MUTED.light, "-", "o"),
    (INK.light, "--", "s"),
    (ATTACK.light, ":", "v"),
    (ATTACK.light, "-", "^"),
    (PROOF.light, "-", "o"),
    (GAP.light, "-.", "D"),
)
_COLUMNS = 3


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


def save_lines(reproduced: Reproduced, asked: Lines, path: Path) -> Path:
    """Draw the panels, at most three a row, into `path` (*.png)."""
    points = [point for group in grouped(reproduced.studies) for point in group.mean_points()]
    panels = list(dict.fromkeys(point.panel for point in points))
    lines = list(dict.fromkeys(point.line for point in points))
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    with mpl.rc_context({**STYLE, "font.size": 10.0}):  # type: ignore[dict-item]
        figure = Figure(figsize=(1.2 + 3.6 * columns, 1.0 + 3.0 * rows), facecolor=PAPER.light, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes, panel in zip(grid.flat, panels, strict=False):
            _panel(axes, [point for point in points if point.panel == panel], lines)
            axes.set_title(panel, loc="left", fontsize=11)
            axes.set_xlabel(asked.x)
        for axes in grid[:, 0]:
            axes.set_ylabel(f"{asked.y}, %")
        handles, names = {}, []
        for axes in grid.flat:
            for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
                if name not in handles:
                    handles[name] = handle
                    names.append(name)
        figure.legend(
            [handles[name] for name in names],
            names,
            loc="outside lower center",
            ncols=min(3, len(names)),
            frameon=False,
        )
        with whole(path) as file:
            figure.savefig(file, dpi=150, format="png")
    return path


def _panel(axes: Axes, points: Sequence[Point], lines: Sequence[str]) -> None:
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    for line in lines:
        mine = sorted((point.x, 100 * point.y) for point in points if point.line == line)
        if mine:
            colour, style, marker = _LINES[lines.index(line) % len(_LINES)]
            x, y = zip(*mine, strict=True)
            axes.plot(x, y, style, color=colour, marker=marker, markersize=4.5, linewidth=1.7, label=line)
    axes.grid(axis="y", color="#dedad0", linewidth=0.6)


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
    return f"{100 * value:.1f} %" if unit == "fraction" else f"{value:,.0f}"


def _interval(row: Row) -> str:
    return "" if row.low is None or row.high is None else f"{100 * row.low:.1f} - {100 * row.high:.1f}"
