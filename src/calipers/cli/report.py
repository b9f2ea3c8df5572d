"""calipers report."""

from pathlib import Path
from typing import Annotated

import typer

from calipers.cli.options import Out
from calipers.cli.runs import Run


def report(
    run: Run = "latest",
    out: Out = Path("calipers-runs"),
    to: Annotated[Path | None, typer.Option(help="File to write; default: RUN.html in the store's folder.")] = None,
) -> None:
    """Write a run's page (one self-contained HTML file) and print its path.

    [bold]Example[/]

    calipers report latest --to report.html
    """
    from calipers.cli.output import console, open_store
    from calipers.report.views import view_of

    with open_store(out) as store:
        view = view_of(store, run)
        page = view.save(to or out / f"{view.run_id}.html")
    console().print(str(page), markup=False, soft_wrap=True)
