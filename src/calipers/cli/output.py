"""What every command prints in the same way."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from calipers.core.errors import InputError
from calipers.core.files import write_whole
from calipers.core.warnings import SanityWarning
from calipers.report.numbers import finite
from calipers.report.page import Report
from calipers.report.terminal import terminal_parts, warning_parts
from calipers.store.store import FILE_NAME, Store


def console() -> Console:
    """Standard output; wide enough in a pipe that no row is cut."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=140)


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
    print_parts(lambda width: terminal_parts(report, width))
    out = console()
    out.print("Report:")
    out.print(str(page), markup=False, soft_wrap=True)


def print_parts(parts: Callable[[int], Iterable[RenderableType]]) -> None:
    """Tables as wide as the screen; lines of text wrap as the screen does."""
    out = console()
    for part in parts(out.width):
        out.print(part, markup=False, soft_wrap=isinstance(part, Text))


def print_warnings(warnings: tuple[SanityWarning, ...]) -> None:
    """One line each."""
    print_parts(lambda width: warning_parts(warnings))
