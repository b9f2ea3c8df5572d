"""What every command prints in the same way."""

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from calipers.core.errors import InputError
from calipers.core.records import SanityWarning
from calipers.report.page import Report
from calipers.report.table import rates_table
from calipers.store.store import FILE_NAME, Store


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
    text = json.dumps(data, indent=2)
    if target == "-":
        print(text)
        return
    try:
        Path(target).write_text(text + "\n")
    except OSError as error:
        raise InputError(f"--json {target}: {error.strerror}; give a file in a folder that can be written") from error


@contextmanager
def stoppable(remedy: str) -> Iterator[None]:
    """Ctrl-C stops cleanly: finished work is kept, and the message says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        message = f"stopped; finished work is kept, repeat the command with {remedy} to go on"
        Console(stderr=True, soft_wrap=True).print(message)
        raise typer.Exit(130) from None


def finish(report: Report, folder: Path, json_: str | None) -> None:
    """Save a run's page in the store's folder and print what a measuring command prints."""
    page = report.save(folder / f"{report.numbers.run_id}.html")
    if json_ is not None:
        write_json(report.to_json(), json_)
    if json_ != "-":
        certificates = folder / "certificates" / report.numbers.run_id
        if certificates.is_dir():
            count = len(list(certificates.glob("*.npz")))
            console().print(f"{count} certificates in {certificates}", markup=False, soft_wrap=True)
        print_report(report, page)


def print_report(report: Report, page: Path) -> None:
    """Verdict, table, warnings and, as the last line, the path of the page."""
    out = console()
    out.print(str(report), markup=False, soft_wrap=True)
    out.print()
    out.print(rates_table(report.numbers))
    print_warnings(report.numbers.warnings)
    out.print("Report:")
    out.print(str(page), soft_wrap=True)


def print_warnings(warnings: Sequence[SanityWarning]) -> None:
    """One line each."""
    out = console()
    for warning in warnings:
        out.print(f"[bold yellow]warning[/] {warning.code}:", end=" ")
        out.print(f"{warning.message} ({warning.evidence})", markup=False, soft_wrap=True)
