"""Reproduced tables of attacks for the terminal: one table per distance, one line per attack."""

import math
from collections.abc import Callable, Iterator, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from calipers.core.rates import Rate
from calipers.evaluate.reproduce import Finding
from calipers.evaluate.robustness.distances import BEST, Distances
from calipers.report.wording import number, percent, plain_percent, radius, seconds

_STRONGEST = "bold yellow"


def attack_tables(findings: Sequence[Finding]) -> Iterator[Table]:
    """Of several networks their mean distances side by side; of one its accuracies at every radius."""
    several = len({finding.experiment.label for finding in findings}) > 1
    for distance in dict.fromkeys(finding.experiment.distance for finding in findings):
        group = [finding for finding in findings if finding.experiment.distance is distance]
        yield _means(group) if several else _rates(group)


def _means(findings: Sequence[Finding]) -> Table:
    """Mean distance of what was found, and how much that is; the paper's mean below."""
    table = _table(f"Mean distance of the adversarial examples of correctly classified images, {_where(findings[0])}")
    found = [{f"attack:{one.attack}": one for one in finding.distances} for finding in findings]
    for finding in findings:
        table.add_column(f"{finding.experiment.label}\nn = {_correct(finding)}", justify="right", no_wrap=True)
    table.add_column("per sample", justify="right", no_wrap=True)
    ours = dict.fromkeys(method for methods in found for method in methods)
    theirs = dict.fromkeys(method for finding in findings for method in finding.experiment.paper_means)
    least = [
        min((one.mean for one in methods.values() if one.found == len(one.distances)), default=math.nan)
        for methods in found
    ]
    for method in [*ours, *(method for method in theirs if method not in ours)]:
        cells = [
            _lines(
                _mean(methods.get(method), best),
                _paper(finding.experiment.paper_means.get(method), number),
            )
            for finding, methods, best in zip(findings, found, least, strict=True)
        ]
        spent = [methods[method].seconds for methods in found if method in methods]
        table.add_row(_name(method), *cells, seconds(max(spent)) if spent else "")
    return table


def _mean(found: Distances | None, best: float) -> Text:
    if found is None or not found.distances:
        return Text("")
    if not found.found:
        return Text("none found", style="dim")
    share = found.found / len(found.distances)
    style = _STRONGEST if share == 1 and found.mean <= best else ""
    return Text.assemble((number(found.mean), style), ("" if share == 1 else f"\nof {percent(share)}", "dim"))


def _rates(findings: Sequence[Finding]) -> Table:
    """Robust accuracy over all images at every radius with its interval, the paper's below."""
    task = findings[0].report.task
    rows: dict[str, list[Rate | None]] = {}
    spent: dict[str, str] = {}
    for finding in findings:
        for attack in finding.report.task.attacks:
            name = f"attack:{attack.name}"
            rows[name] = [_at(finding, name, epsilon) for epsilon in task.epsilons]
            times = [rate.seconds for rate in rows[name] if rate and rate.seconds is not None]
            spent[name] = seconds(max(times)) if times else ""
    clean = next(rate for rate in findings[0].report.rates if rate.name == "clean")
    table = _table(
        f"Robust accuracy over all {clean.n} images with 95 % intervals, {findings[0].experiment.label}, "
        f"{_where(findings[0])}; without attack {percent(clean.measured)}"
    )
    for epsilon in task.epsilons:
        table.add_column(radius(epsilon, task.unit), justify="right", no_wrap=True)
    table.add_column("per sample", justify="right", no_wrap=True)
    least = [
        min((rate.measured for rate in column if rate), default=math.nan) for column in zip(*rows.values(), strict=True)
    ]
    paper = findings[0].experiment.paper
    theirs = dict.fromkeys(method for method, _ in paper)
    for method in [*rows, *(method for method in theirs if method not in rows)]:
        cells = [
            _lines(_rate(rate, best), _paper(paper.get((method, epsilon)), plain_percent))
            for rate, best, epsilon in zip(
                rows.get(method, [None] * len(task.epsilons)), least, task.epsilons, strict=True
            )
        ]
        table.add_row(_name(method), *cells, spent.get(method, ""))
    return table


def _at(finding: Finding, method: str, epsilon: float) -> Rate | None:
    """A method's rate over all images."""
    return next((rate for rate in finding.report.rates if rate.name == method and rate.epsilon == epsilon), None)


def _rate(rate: Rate | None, best: float) -> Text:
    if rate is None:
        return Text("")
    style = _STRONGEST if rate.measured <= best else ""
    return Text.assemble((percent(rate.measured), style), (f"\n{100 * rate.low:.0f} to {100 * rate.high:.0f}", "dim"))


def _paper(value: float | None, words: Callable[[float], str]) -> Text:
    return Text("" if value is None else f"paper {words(value)}", style="dim")


def _lines(*parts: Text) -> Text:
    return Text("\n").join([part for part in parts if part])


def _name(method: str) -> Text:
    short = method.partition(":")[2]
    return Text(short, style="bold" if short in ("nearest", BEST) else "")


def _correct(finding: Finding) -> int:
    return max((len(one.distances) for one in finding.distances), default=0)


def _where(finding: Finding) -> str:
    return f"{finding.report.task.norm} in {finding.report.task.unit} units"


def _table(title: str) -> Table:
    table = Table(title=Text(title), title_justify="left", title_style="dim", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("attack", no_wrap=True)
    return table
