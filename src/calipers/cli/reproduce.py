"""calipers reproduce."""

from pathlib import Path
from typing import Annotated

import typer

from calipers.cli.options import DataDir, Device, Json, Out, Seed
from calipers.cli.stopping import finished_parts, stoppable


def reproduce(
    name: Annotated[
        str | None, typer.Argument(help="A table or figure; without it, the list of them.", show_default=False)
    ] = None,
    budget: Annotated[
        str, typer.Option(help="quick: few images and short training, minutes; full: as in the paper, hours.")
    ] = "quick",
    weights: Annotated[
        Path | None,
        typer.Option(
            envvar="CALIPERS_WEIGHTS", help="Folder of the weights that the paper's authors publish, as safetensors."
        ),
    ] = None,
    data_dir: DataDir = None,
    device: Device = "cpu",
    seed: Seed = 0,
    out: Out = Path("calipers-runs"),
    json_: Json = None,
) -> None:
    """Measure a table or figure of a paper again, beside the published figures.

    Finished parts are kept in --out; the same command goes on where it was stopped.

    [bold]Example[/]

    calipers reproduce capm-table2 --budget quick --json table2.json
    """
    from calipers.evaluate.progress import busy, track

    with stoppable("nothing changed", finished_parts(out)), busy("starting"):
        from calipers.cli.output import console, write_json
        from calipers.cli.said import command_line
        from calipers.core.devices import device_of
        from calipers.core.tables import to_json
        from calipers.evaluate.reproduce import ALL, BUDGETS, Expected, Laboratory
        from calipers.report.reproduction import tables
        from calipers.report.reproduction_figure import save_figure
        from calipers.store.store import Store

    if name is None:
        for known in ALL:
            console().print(f"{known:18s} {ALL[known].title}", markup=False, soft_wrap=True)
        return
    reproduction, spent = ALL[name], BUDGETS[budget]
    typer.echo(f"{name}, {spent.name}: {Expected.of(reproduction, spent, published=weights is not None)}", err=True)
    with stoppable("nothing changed", finished_parts(out)), Store(out) as store:
        laboratory = Laboratory(
            store, out / "models", weights, data_dir, seed, track, command_line(), str(device_of(device))
        )
        found = laboratory.reproduce(reproduction, spent)
        drawn = out / f"{name}-{spent.name}.png"
        figure = save_figure(store, found, drawn)
    if json_ is not None:
        write_json(to_json(command_line(), found.rows, seed, found.warnings), json_)
    if json_ == "-":
        return
    console().print(reproduction.title, style="bold", markup=False, soft_wrap=True)
    for table in tables(found):
        console().print(table)
    for warning in found.warnings:
        console().print("[bold yellow]note[/]", end=" ")
        console().print(warning, markup=False, soft_wrap=True)
    if figure is not None:
        console().print(f"Figure:\n{figure}", markup=False, soft_wrap=True)
