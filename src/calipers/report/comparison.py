"""The page and the tables of a comparison of models."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

import calipers
from calipers.core.rates import Rate
from calipers.core.tables import Row
from calipers.core.tasks import Run
from calipers.evaluate.comparison.standings import (
    CERTIFIED,
    CLEAN,
    EMPIRICAL,
    Comparison,
    Lead,
    Standing,
    comparison_of,
    leads,
)
from calipers.report.comparison_chart import comparison_chart
from calipers.report.comparison_curve import distance_chart
from calipers.report.frame import TemplateSection, View
from calipers.report.rate_groups import JAWS
from calipers.report.wording import clipping, interval, measured, number, radius, seconds
from calipers.store.store import Store

_CHANCE = 0.05  # of a lead, from which on it is said to be no more than that


def comparison_view(store: Store, run: Run) -> View:
    """All models in one table and one chart, as far as they are measured."""
    found = comparison_of(store, run.run_id)
    first = found.task.contenders[0].task
    numbers = _numbers(found)
    said = [(ranking(found, lead), doubt(lead)) for lead in leads(found)]
    context = {
        "comparison": found,
        "task": first,
        "about": f"{first.data}, {first.samples} samples, {first.norm}",
        "clipping": clipping(first),
        "said": said[::-1],  # the largest radius first
        "chart": comparison_chart(found),
        "distances": distance_chart(found),
        "above": any(one.rate(EMPIRICAL, e) is not None for one in found.standings for e in found.epsilons),
        "below": any(one.rate(CERTIFIED, e) is not None for one in found.standings for e in found.epsilons),
        "number": number,
        "seconds": seconds,
    }
    return View(
        run_id=run.run_id,
        title=f"Comparison on {first.data}",
        label="Comparison",
        version=calipers.__version__,
        sections=(TemplateSection("comparison.html.j2", context),),
        numbers=numbers,
        rows=numbers,
        terminal=lambda width: _terminal(found, said, width),
    )


def ranking(found: Comparison, lead: Lead) -> str:
    """Who is first, and who follows."""
    rates = {one.name: one.rate(lead.rate, lead.epsilon) for one in found.standings}
    first, second = (measured(rates[name]) for name in (lead.first, lead.second))
    task = found.task.contenders[0].task
    at = f"At {task.norm} {radius(lead.epsilon, task.unit)}"
    one, several = ("is proven", "are proven") if lead.rate == CERTIFIED else ("withstands", "withstand")
    what = "robust" if lead.rate == CERTIFIED else "every attack"
    if lead.only_first == lead.only_second:
        return f"{at}, {lead.first} and {lead.second} {several} {what} on as many samples: {first}."
    return f"{at}, {lead.first} {one} {what} on the most samples: {first}; {lead.second} follows with {second}."


def doubt(lead: Lead) -> str:
    """Whether chance alone explains who is first."""
    counts = f"{lead.only_first} samples against {lead.only_second} that count for one of the two alone"
    kind = "no more" if lead.p >= _CHANCE else "more"
    return f"That is {kind} than chance explains (McNemar's exact test, p = {lead.p:.2g}: {counts})."


def _terminal(found: Comparison, said: list[tuple[str, str]], width: int) -> Iterator[RenderableType]:
    for ranked, doubted in said:
        yield Text.assemble(ranked, " ", (doubted, "dim"))
    yield Text()
    yield _table(found, width)
    count = sum(len(one.report.warnings) for one in found.standings)
    if count:
        yield Text(f"{count} warnings; `calipers report RUN` shows those of a model, the page lists their runs.")


def _table(found: Comparison, width: int) -> Table:
    task = found.task.contenders[0].task
    title = f"{task.data}, {task.samples} samples, {task.norm}, epsilon in {task.unit} units, {clipping(task)}"
    table = Table(title=Text(title), title_justify="left", title_style="dim", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("epsilon", justify="right", no_wrap=True)
    table.add_column("model", overflow="fold")
    spread = width >= 120
    for head in ("clean", EMPIRICAL, CERTIFIED, "nearest, median"):
        table.add_column(head, justify="right", no_wrap=True)
    for head in ("attacks", "proofs"):
        table.add_column(f"{head}, per sample" if spread else head, justify="right", no_wrap=spread)
    for epsilon in found.epsilons:
        for place, one in enumerate(found.standings):
            rates = ((CLEAN, None, "bold"), (EMPIRICAL, epsilon, "bold yellow"), (CERTIFIED, epsilon, "bold cyan"))
            table.add_row(
                radius(epsilon, task.unit) if place == 0 else "",
                Text(one.name),
                *(_cell(one.rate(name, at), style, spread) for name, at, style in rates),
                "" if one.nearest is None else number(one.nearest.median),
                seconds(one.attacking),
                seconds(one.proving),
                end_section=place == len(found.standings) - 1,
            )
    return table


def _cell(rate: Rate | None, style: str, spread: bool) -> Text:
    text = Text(measured(rate), style=style)
    return text.append(f"\n{interval(rate)}", "dim") if spread and rate is not None else text


def _numbers(found: Comparison) -> dict[str, Any]:
    """The project's shape, with the model on every row."""
    rows = [{**asdict(row), "model": one.name} for one in found.standings for row in _rows(one)]
    warnings = [
        f"{one.name}: {warning.message} ({warning.evidence})"
        for one in found.standings
        for warning in one.report.warnings
    ]
    seed = found.task.contenders[0].task.seed
    models = [
        {"name": one.name, "made": one.contender.made, "reference": one.report.task.model, "run": one.report.run_id}
        for one in found.standings
    ]
    return {
        "command": found.command,
        "version": calipers.__version__,
        "seed": seed,
        "run": found.run_id,
        "rows": rows,
        "warnings": warnings,
        "models": models,
        "leads": [asdict(lead) for lead in leads(found)],
    }


def _rows(one: Standing) -> Iterator[Row]:
    task = one.report.task
    for rate in one.report.rates:
        if rate.name in (CLEAN, *JAWS) or rate.name.startswith(("attack:", "verify:")):
            yield Row.of_rate(rate.name, rate, task.norm, task.unit)
    if one.nearest is not None:
        yield from one.nearest.rows(task.norm, task.unit)
    for name, spent in (("attacks", one.attacking), ("proofs", one.proving)):
        yield Row(f"{name} time", spent, task.samples, "s/sample")
