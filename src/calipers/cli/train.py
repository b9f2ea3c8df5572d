"""calipers train."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calipers.cli.options import DataDir
from calipers.cli.stopping import stoppable

if TYPE_CHECKING:
    from calipers.train import TrainedModel


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe file (TOML), or the name of a built-in recipe.")],
    out: Annotated[Path, typer.Option(help="Card to write (*.json); the weights go beside it.")] = Path("model.json"),
    runs: Annotated[
        Path, typer.Option(help="Folder of the run store, which keeps the history.", rich_help_panel="Output")
    ] = Path("calipers-runs"),
    data_dir: DataDir = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint beside --out.")] = False,
) -> None:
    """Train a model by recipe, save safetensors with a JSON card, and keep the history for `calipers report`.

    [bold]Example[/]

    calipers train digits --out digits.json
    """
    with stoppable("--resume", out.with_suffix(".checkpoint").exists):
        trained = train_recipe(recipe, out, runs, resume=resume, data_dir=data_dir)
    from calipers.cli.output import console

    summary = ", ".join(f"{name.replace('_', ' ')} {value:.1%}" for name, value in trained.metrics.items())
    console().print(f"{summary}\n{trained.card}", markup=False, soft_wrap=True)


def train_recipe(recipe: str, out: Path, runs: Path, *, resume: bool, data_dir: Path | None) -> "TrainedModel":
    """Train with a progress bar."""
    from calipers.evaluate.progress import busy, track

    with busy("starting"):
        from calipers.cli.said import command_line
        from calipers.data.loading import load_dataset
        from calipers.evaluate.training import train_in
        from calipers.store.store import Store
        from calipers.train import Trainer, load_recipe, steps_of

        parsed = load_recipe(recipe)
    with busy(f"loading {parsed.data}"):
        dataset = load_dataset(parsed.data, "train", parsed.samples, data_dir)
        held_out = load_dataset(parsed.data, "test", None, data_dir)
        trainer = Trainer(parsed, dataset, out)
    with Store(runs) as store, track(steps_of(parsed, dataset)) as tracker:
        return train_in(store, trainer, held_out, command_line(), tracker, resume=resume)
