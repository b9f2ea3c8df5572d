"""The table of networks that were trained several times: means and spreads, the paper's below."""

import math
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from calipers.evaluate.reproduce import Repeated
from calipers.evaluate.reproduce.repeated import Measure


def repeated_table(groups: Sequence[Repeated]) -> Table:
    """A line per network."""
    names = list(dict.fromkeys(one.name for group in groups for one in group.measures))
    title = "Means over runs with other seeds, and their standard deviations"
    table = Table(title=title, title_justify="left", title_style="dim", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("network")
    for head in ("runs", *names):
        table.add_column(head, justify="right", no_wrap=True)
    for group in groups:
        found = {one.name: one for one in group.measures}
        cells = (_cell(found[name]) if name in found else Text("") for name in names)
        table.add_row(group.label, str(len(group.findings)), *cells, end_section=True)
    return table


def _cell(one: Measure) -> Text:
    """Means and, below, the paper's."""
    if not one.values:
        return Text("none reached", style="dim")
    text = Text(_pair(one.unit, one.mean, one.spread), style="bold yellow")
    mean, spread = one.paper
    if mean is not None:
        text.append(f"\npaper {_pair(one.unit, mean, math.nan if spread is None else spread)}", "not bold dim")
    return text


def _pair(unit: str, mean: float, spread: float) -> str:
    """Such as "1.42 ± 0.08 %"; without a spread the mean alone."""
    percent = unit == "fraction"
    words = [f"{100 * value:.2f}" if percent else f"{value:.3f}" for value in (mean, spread) if not math.isnan(value)]
    return " ± ".join(words) + " %" * percent
