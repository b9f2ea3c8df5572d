"""A reproduced table for the terminal: one line per network, unit and radius, one column per method."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from calipers.core.tables import Row
from calipers.evaluate.reproduce import Finding, Reproduced, grouped, repeated
from calipers.report.attack_tables import attack_tables
from calipers.report.relative import relative_table
from calipers.report.repeated import repeated_table
from calipers.report.studies import study_table
from calipers.report.wording import percent, plain_percent, radius, seconds

# Our names for what papers call otherwise.
_HEADS = {"crown": "crown\n(DeepPoly)"}
_EMPTY = Text("")


def tables(reproduced: Reproduced) -> Iterator[Table]:
    """The facts, if there are any, then rates and times of all experiments."""
    facts = reproduced.reproduction.facts()
    if facts:
        yield _facts_table(facts)
    if any(finding.experiment.verifiers for finding in reproduced.findings):
        yield _comparison(reproduced.findings)
    else:
        yield from attack_tables(reproduced.findings)
    groups = repeated(reproduced.relatives)
    if len(groups) < len(reproduced.relatives):
        yield repeated_table(groups)
    elif groups:
        yield relative_table(reproduced.relatives)
    if reproduced.studies:
        yield study_table(grouped(reproduced.studies))


def _facts_table(rows: tuple[Row, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("what")
    for head in ("measured", "paper"):
        table.add_column(head, justify="right")
    for row in rows:
        same = row.measured is None or row.measured == row.paper
        cells = ("" if value is None else f"{value:g}" if value < 1e5 else f"{value:.0f}" for value in _pair(row))
        table.add_row(row.name, *(Text(cell, style="" if same else "bold red") for cell in cells))
    return table


def _pair(row: Row) -> tuple[float | None, float | None]:
    return row.measured, row.paper


@dataclass(frozen=True)
class _Column:
    """A method that some experiment used, or that only the paper has."""

    method: str
    paper_only: bool

    @property
    def head(self) -> str:
        short = self.method.partition(":")[2] or self.method
        return f"{short}\n(paper only)" if self.paper_only else _HEADS.get(short, short)


def _comparison(findings: tuple[Finding, ...]) -> Table:
    columns = _columns(findings)
    title = "Share of the correctly classified images that survive the attack or are proven, linf; 95 % interval"
    table = Table(title=title, title_justify="left", title_style="dim", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("network", overflow="fold")
    for head in ("epsilon", "n"):
        table.add_column(head, justify="right", no_wrap=True)
    for column in columns:
        table.add_column(column.head, justify="right", overflow="fold")
    for finding in findings:
        task, experiment = finding.report.task, finding.experiment
        for epsilon in task.epsilons:
            certified = finding.row("certified", epsilon)
            table.add_row(
                experiment.label,
                f"{radius(epsilon, task.unit)}\n{task.unit}",
                "" if certified is None else str(certified.n),
                *(_cell(finding, column, epsilon) for column in columns),
                end_section=True,
            )
    return table


def _columns(findings: tuple[Finding, ...]) -> list[_Column]:
    ours = [
        f"{kind}:{method.name}"
        for finding in findings
        for kind, methods in (("attack", finding.report.task.attacks), ("verify", finding.report.task.verifiers))
        for method in methods
    ]
    theirs = [method for finding in findings for method, _ in finding.experiment.paper]
    found = [_Column(method, False) for method in dict.fromkeys(ours)]
    # Proofs after attacks, in the order in which the first experiment names them.
    found.sort(key=lambda column: column.method.startswith("verify"))
    return found + [_Column(method, True) for method in dict.fromkeys(theirs) if method not in ours]


def _cell(finding: Finding, column: _Column, epsilon: float) -> Text:
    """The rate, its interval and time; below, what the paper says."""
    experiment = finding.experiment
    paper = experiment.paper.get((column.method, epsilon))
    paper_time = experiment.paper_seconds.get((column.method, epsilon))
    beside = [plain_percent(paper)] if paper is not None else []
    beside += [seconds(paper_time)] if paper_time is not None else []
    said = Text(f"paper {', '.join(beside)}" if beside else "", style="dim")
    if column.paper_only:
        return said
    found = finding.row(column.method, epsilon)
    if found is None:
        return _EMPTY
    lines = [
        Text(percent(found.measured), style="bold yellow" if column.method.startswith("attack") else "bold cyan"),
        Text(f"{100 * found.low:.0f} to {100 * found.high:.0f}", style="dim"),
        Text("" if found.seconds is None else seconds(found.seconds)),
    ]
    return Text("\n").join([*lines, said] if beside else lines)
