"""The rates as a table for the terminal."""

from rich import box
from rich.table import Table
from rich.text import Text

from calipers.evaluate.robustness.summary import RobustnessReport
from calipers.report.nouns import ANYTHING, Nouns
from calipers.report.rate_groups import NamedRate, rate_groups
from calipers.report.wording import DASH, clipping, interval, measured, radius, spent

_STYLES = {"clean": "bold", "empirical": "bold yellow", "certified": "bold cyan", "undecided": "bold"}
# Columns give way to the names of methods: each with the width of a terminal from which on it has room.
_COLUMNS = {"measured": 0, "95 % interval": 58, "n": 0, "per sample": 72}


def rates_table(report: RobustnessReport, width: int = 100, words: Nouns = ANYTHING) -> Table:
    """Clean, empirical, certified and undecided at every epsilon, each followed by the methods and their times.

    width: of the terminal; a narrow one goes without times and intervals.
    """
    task = report.task
    title = f"{task.norm}, epsilon in {words.unit(task.unit)} units, {clipping(task)}"
    heads = [head for head, least in _COLUMNS.items() if width >= least]
    table = Table(title=Text(title), title_justify="left", title_style="dim", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("epsilon", justify="right", no_wrap=True)
    table.add_column("rate of", overflow="fold")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for group in rate_groups(report):
        for index, row in enumerate(group.rows):
            label = radius(group.epsilon, task.unit) if group.epsilon is not None and index == 0 else ""
            table.add_row(label, *_cells(row, heads), end_section=index == len(group.rows) - 1)
    return table


def _cells(row: NamedRate, heads: list[str]) -> tuple[Text, ...]:
    texts = {
        "measured": measured(row.rate),
        "95 % interval": interval(row.rate),
        "n": DASH if row.rate is None else str(row.rate.n),
        "per sample": spent(row.rate),
    }
    style = "" if row.headline and row.rate is not None else "dim"
    return (
        Text(row.name if row.headline else f"  {row.name}", style=_STYLES.get(row.name, "dim")),
        *(Text(texts[head], style=style) for head in heads),
    )
