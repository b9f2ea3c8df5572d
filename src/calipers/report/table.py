"""The rates as a table for the terminal."""

from rich import box
from rich.table import Table
from rich.text import Text

from calipers.core.records import Rate, RobustnessReport
from calipers.report.wording import clipping, interval, percent, radius, spent, verdict

__all__ = ["rates_table", "verdict"]

_HEADLINE = ("clean", "empirical", "certified", "undecided")
_STYLES = {"clean": "bold", "empirical": "bold yellow", "certified": "bold cyan", "undecided": "bold"}


def rates_table(report: RobustnessReport) -> Table:
    """Clean, empirical, certified and undecided at every epsilon, each followed by the methods and their times."""
    spec = report.spec
    title = f"{spec.norm}, epsilon in {spec.unit} units, {clipping(spec)}"
    table = Table(title=Text(title), title_justify="left", title_style="dim", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("epsilon", justify="right", no_wrap=True)
    table.add_column("rate of", overflow="fold")
    for head in ("measured", "95 % interval", "n", "per sample"):
        table.add_column(head, justify="right", no_wrap=True)
    rows = [row for row in report.rates if not row.name.endswith("|correct")]
    for epsilon in (None, *sorted({row.epsilon for row in rows if row.epsilon is not None})):
        group = sorted((row for row in rows if row.epsilon == epsilon), key=_rank)
        for index, row in enumerate(group):
            label = radius(epsilon, spec.unit) if epsilon is not None and index == 0 else ""
            table.add_row(label, *_cells(row), end_section=index == len(group) - 1)
    return table


def _rank(row: Rate) -> int:
    return _HEADLINE.index(row.name) if row.name in _HEADLINE else len(_HEADLINE)


def _cells(row: Rate) -> tuple[Text, ...]:
    headline = row.name in _HEADLINE
    name = row.name if headline else f"  {row.name}"
    texts = (percent(row.measured), interval(row), str(row.n), spent(row))
    return (
        Text(name, style=_STYLES.get(row.name, "dim")),
        *(Text(text, style="" if headline else "dim") for text in texts),
    )
