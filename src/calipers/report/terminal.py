"""What a run of robustness prints on a terminal, part by part."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from calipers.core.warnings import SanityWarning
from calipers.report.limits import certificate_status
from calipers.report.page import Report
from calipers.report.requirements import requirement_lines
from calipers.report.table import rates_table
from calipers.report.threat import allowed
from calipers.report.verdict import verdict, warning_lines


def terminal_parts(report: Report, width: int) -> Iterator[RenderableType]:
    """Verdict, threat, table, certificates, required levels and warnings. Lines of text wrap as the screen does."""
    numbers = report.numbers
    yield Text(verdict(numbers, report.words))
    yield Text(allowed(numbers.task, report.words))
    yield Text()
    yield rates_table(numbers, width, report.words)
    if report.certificates is not None:
        where = f"They are the certificates in {report.certificates.folder}"
        yield Text(f"{certificate_status(report.certificates)} {where}")
    for one, line in zip(report.requirements, requirement_lines(report.requirements, numbers.task.unit), strict=True):
        yield Text(line, style="bold cyan" if one.passed else "bold red")
    yield from warning_parts(numbers.warnings)


def warning_parts(warnings: tuple[SanityWarning, ...]) -> Iterator[Text]:
    """One line each."""
    for line in warning_lines(warnings):
        word, rest = line.split(" ", 1)
        yield Text.assemble((word, "bold yellow"), " ", rest)
