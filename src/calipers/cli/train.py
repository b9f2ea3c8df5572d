"""calipers train."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calipers.cli.options import DataDir, Device
from calipers.cli.stopping import stoppable
from calipers.core.errors import InputError

if TYPE_CHECKING:
    from calipers.train import TrainedModel


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
    runs: Annotated[
        Path, typer.Option(help="Folder of the run store, which keeps the history.", rich_help_panel="Output")
    ] = Path("calipers-runs"),
    data_dir: DataDir = None,
    device: Device = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint beside --out.")] = False,
) -> None:
    """Train a model by recipe, save safetensors with a JSON card, and keep the history for `calipers report`.

    [bold]Example[/]

    calipers train digits --out digits.json

    calipers train digits --set epochs=5 optimizer.learning_rate=2e-3 --out quick.json
    """
    if list_ or recipe is None:
        if set_ and not list_:
            raise InputError(f"--set {' '.join(set_)}: there is no recipe to change; accepted: its name or file before")
        _print_recipes()
        return
    with stoppable("--resume", out.with_suffix(".checkpoint").exists):
        trained = train_recipe((recipe, set_ or ()), out, runs, resume=resume, data_dir=data_dir, device=device)
    from calipers.cli.output import console

    summary = ", ".join(f"{name.replace('_', ' ')} {value:.1%}" for name, value in trained.metrics.items())
    console().print(f"{summary}\n{trained.card}", markup=False, soft_wrap=True)


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


def train_recipe(
    recipe: tuple[str, Sequence[str]],
    out: Path,
    runs: Path,
    *,
    resume: bool,
    data_dir: Path | None,
    device: str = "cpu",
) -> "TrainedModel":
    """Train with a progress bar. recipe: by name or file, with changes of it."""
    from calipers.evaluate.progress import busy, track

    with busy("starting"):
        from calipers.cli.said import command_line
        from calipers.core.devices import device_of
        from calipers.data.loading import load_dataset
        from calipers.evaluate.training import train_in
        from calipers.store.store import Store
        from calipers.train import Trainer, load_recipe, steps_of

        parsed, place = load_recipe(*recipe), device_of(device)
    with busy(f"loading {parsed.data}"):
        dataset = load_dataset(parsed.data, "train", parsed.samples, data_dir)
        held_out = load_dataset(parsed.data, "test", None, data_dir)
        trainer = Trainer(parsed, dataset, out, place)
    with Store(runs) as store, track(steps_of(parsed, dataset)) as tracker:
        return train_in(store, trainer, held_out, command_line(), tracker, resume=resume)
