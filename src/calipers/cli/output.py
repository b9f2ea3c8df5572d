"""What every command prints in the same way."""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from calipers.cli.stopping import stoppable
from calipers.core.errors import InputError
from calipers.core.files import write_whole
from calipers.core.warnings import SanityWarning
from calipers.report.limits import certificate_status
from calipers.report.numbers import finite
from calipers.report.page import Report
from calipers.report.requirements import requirement_lines
from calipers.report.table import rates_table
from calipers.report.threat import allowed
from calipers.report.verdict import verdict, warning_lines
from calipers.store.store import FILE_NAME, Store

__all__ = ["command_line", "console", "finish", "open_store", "print_report", "stoppable", "write_json"]


def console() -> Console:
    """Standard output; wide enough in a pipe that no row is cut."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=140)


def command_line() -> str:
    """The command as the user gave it."""
    return shlex.join(["calipers", *sys.argv[1:]])


def open_store(folder: Path) -> Store:
    """An existing store; a folder without one is an error, not an empty store."""
    if not (folder / FILE_NAME).is_file():
        raise InputError(f"--out {folder}: holds no run store ({FILE_NAME}); give the folder of `calipers measure`")
    return Store(folder)


def write_json(data: dict[str, Any], target: str) -> None:
    """Machine-readable output to a file, or alone to standard output ("-")."""
    text = json.dumps(finite(data), indent=2, allow_nan=False)
    if target == "-":
        print(text)
        return
    try:
        write_whole(Path(target), f"{text}\n".encode())
    except OSError as error:
        raise InputError(f"--json {target}: {error.strerror}; give a file in a folder that can be written") from error


def finish(report: Report, folder: Path, json_: str | None) -> None:
    """Save a run's page in the store's folder and print what a measuring command prints."""
    page = report.save(folder / f"{report.numbers.run_id}.html")
    if json_ is not None:
        write_json(report.to_json(), json_)
    if json_ != "-":
        print_report(report, page)


def print_report(report: Report, page: Path) -> None:
    """The numbers and, as the last line, the path of the page."""
    print_numbers(report)
    out = console()
    out.print("Report:")
    out.print(str(page), markup=False, soft_wrap=True)


def print_numbers(report: Report, *more: Table) -> None:
    """Verdict, threat, tables, certificates, required levels and warnings."""
    out, numbers = console(), report.numbers
    for sentence in (verdict(numbers, report.words), allowed(numbers.task, report.words)):
        out.print(sentence, markup=False, soft_wrap=True)
    out.print()
    for table in (rates_table(numbers, out.width, report.words), *more):
        out.print(table)
    if report.certificates is not None:
        where = f"They are the certificates in {report.certificates.folder}"
        out.print(f"{certificate_status(report.certificates)} {where}", markup=False, soft_wrap=True)
    for one, line in zip(report.requirements, requirement_lines(report.requirements, numbers.task.unit), strict=True):
        out.print(line, style="bold cyan" if one.passed else "bold red", markup=False, soft_wrap=True)
    print_warnings(numbers.warnings)


def print_warnings(warnings: Sequence[SanityWarning]) -> None:
    """One line each."""
    out = console()
    for line in warning_lines(warnings):
        word, rest = line.split(" ", 1)
        out.print(f"[bold yellow]{word}[/]", end=" ")
        out.print(rest, markup=False, soft_wrap=True)
