"""calipers runs and calipers show."""

from pathlib import Path
from typing import Annotated

import typer

from calipers.cli.options import Json, Out

_COLUMNS = ("run", "created", "kind", "status", "what")
Run = Annotated[str, typer.Argument(help="Run id, a unique prefix of it, or latest.")]


def runs(out: Out = Path("calipers-runs")) -> None:
    """List the runs of a store, the newest first.

    [bold]Example[/]

    calipers runs --out calipers-runs
    """
    from rich.table import Table
    from rich.text import Text

    from calipers.cli.output import console, open_store

    screen = console()
    table = Table(box=None, header_style="bold")
    for column in _COLUMNS:
        table.add_column(column, no_wrap=column != "what", overflow="fold", min_width=len(column))
    with open_store(out) as store:
        for run in store.runs():
            table.add_row(run.run_id, run.created[:16], run.kind, run.status, Text(run.title))
    screen.print(table)


def show(run: Run = "latest", out: Out = Path("calipers-runs"), json_: Json = None) -> None:
    """Print a run's numbers, finished or not.

    [bold]Example[/]

    calipers show latest --json -
    """
    from calipers.cli.output import open_store, print_parts, write_json
    from calipers.report.views import view_of

    with open_store(out) as store:
        view = view_of(store, run)
    if json_ is not None:
        write_json(view.rows, json_)
    if json_ != "-":
        print_parts(view.terminal)
