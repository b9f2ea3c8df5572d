"""calipers train."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from calipers.cli.options import DataDir, Device, Json
from calipers.cli.stopping import finished_parts, stoppable
from calipers.core.errors import InputError

if TYPE_CHECKING:
    from calipers.cli.training import Trained


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="A recipe file (TOML), or the name of a built-in recipe; without it, the list of them.",
            show_default=False,
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE ...",
            help="Change the recipe: epochs=5 optimizer.learning_rate=2e-3. Values as in TOML; text needs no quotes.",
        ),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the built-in recipes, and train nothing.")] = False,
    out: Annotated[Path, typer.Option(help="Card to write (*.json); the weights go beside it.")] = Path("model.json"),
    measure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="THREAT",
            help='Then measure it as `calipers measure` does, in this norm and at these radii: "linf 0.05 0.1". '
            "Repeatable.",
        ),
    ] = None,
    log: Annotated[
        Literal["csv", "tensorboard"] | None,
        typer.Option(
            help="Write every epoch beside the card too: a table (.csv), or a folder for TensorBoard (.tensorboard; "
            "pip install 'calipers\\[tensorboard]').",
            rich_help_panel="Output",
        ),
    ] = None,
    runs: Annotated[
        Path, typer.Option(help="Folder of the run store, which keeps the history.", rich_help_panel="Output")
    ] = Path("calipers-runs"),
    data_dir: DataDir = None,
    device: Device = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint beside --out.")] = False,
    json_: Json = None,
) -> None:
    """Train a model by recipe, save safetensors with a JSON card, and keep the history for `calipers report`.

    [bold]Example[/]

    calipers train digits --out digits.json

    calipers train digits --set epochs=5 optimizer.learning_rate=2e-3 --measure "linf 0.05" --out quick.json
    """
    if list_ or recipe is None:
        if not list_ and (set_ or measure):
            raise InputError("train: there is no recipe to change or to measure; accepted: its name or file, first")
        _print_recipes()
        return
    with stoppable("--resume", lambda: out.with_suffix(".checkpoint").exists() or finished_parts(runs)()):
        asked = (recipe, set_ or ()), measure or (), (out, runs, log)
        trained = _trained(*asked, resume=resume, data_dir=data_dir, device=device)
        from calipers.cli.output import console, print_report, write_json

        if json_ != "-":
            metrics = trained.model.metrics.items()
            summary = ", ".join(f"{name.replace('_', ' ')} {value:.1%}" for name, value in metrics)
            console().print(f"{summary}\n{trained.model.card}", markup=False, soft_wrap=True)
        reports = list(trained.measured(resume=resume))
    for report in reports:
        page = report.save(runs / f"{report.numbers.run_id}.html")
        if json_ != "-":
            print_report(report, page)
    if json_ is not None:
        write_json(trained.to_json(reports), json_)


def _trained(
    recipe: tuple[str, Sequence[str]],
    threats: Sequence[str],
    places: tuple[Path, Path, str | None],
    *,
    resume: bool,
    data_dir: Path | None,
    device: str,
) -> "Trained":
    from calipers.evaluate.progress import busy

    with busy("starting"):
        from calipers.cli.training import Training
        from calipers.train import load_recipe

        out, runs, log = places
        training = Training(load_recipe(*recipe), out, runs, data_dir, tuple(threats), device, log)
    return training.trained(resume=resume)


def _print_recipes() -> None:
    from rich.table import Table

    from calipers.cli.output import console
    from calipers.train import built_in_recipes, load_recipe

    table = Table(box=None, header_style="bold")
    for column in ("name", "data", "objective", "description"):
        table.add_column(column, no_wrap=column != "description")
    for name in built_in_recipes():
        recipe = load_recipe(name)
        table.add_row(name, recipe.data, recipe.objective, recipe.description)
    console().print(table, markup=False)
