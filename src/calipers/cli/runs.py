"""calipers runs and calipers show."""

from pathlib import Path
from typing import Annotated

import typer

from calipers.cli.options import Json, Out

_COLUMNS = ("run", "created", "status", "model", "data", "norm", "epsilons", "samples")
Run = Annotated[str, typer.Argument(help="Run id, a unique prefix of it, or latest.")]


def runs(out: Out = Path("calipers-runs")) -> None:
    """List the runs of a store, the newest first.

    [bold]Example[/]

    calipers runs --out calipers-runs
    """
    from rich.table import Table

    from calipers.cli.output import console, open_store

    screen = console()
    left_out = {"created", "samples", "norm"} if screen.width < 90 else set()
    columns = [column for column in _COLUMNS if column not in left_out]
    table = Table(box=None, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column != "epsilons", overflow="ellipsis", min_width=len(column))
    with open_store(out) as store:
        for run in store.runs():
            spec = run.spec
            radii = " ".join(f"{epsilon:g}" for epsilon in spec.epsilons)
            what = (
                run.run_id,
                run.created[:16],
                run.status,
                spec.model,
                spec.data,
                spec.norm,
                radii,
                str(spec.samples),
            )
            row = dict(zip(_COLUMNS, what, strict=True))
            table.add_row(*(row[column] for column in columns))
    screen.print(table)


def show(run: Run = "latest", out: Out = Path("calipers-runs"), json_: Json = None) -> None:
    """Print a run's numbers, finished or not.

    [bold]Example[/]

    calipers show latest --json -
    """
    from calipers.cli.output import console, open_store, print_numbers, write_json
    from calipers.evaluate.measure import refresh
    from calipers.report.load import load_report
    from calipers.report.nearest import load_nearest
    from calipers.report.numbers import rates_json

    with open_store(out) as store:
        numbers = refresh(store, store.run(run).run_id)
        report = load_report(store, numbers.run_id)
        searched = any(method.minimum_norm for method in numbers.spec.attacks)
        nearest = [load_nearest(store, numbers.run_id).table(console().width)] if searched else []
    if json_ is not None:
        write_json(rates_json(report.numbers), json_)
    if json_ != "-":
        print_numbers(report, *nearest)
