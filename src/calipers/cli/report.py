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
    from calipers.evaluate.robustness.measure import refresh
    from calipers.report.load import load_report

    with open_store(out) as store:
        run_id = store.run(run).run_id
        refresh(store, run_id)
        page = load_report(store, run_id).save(to or out / f"{run_id}.html")
    console().print(str(page), markup=False, soft_wrap=True)
