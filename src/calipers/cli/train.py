"""calipers train."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calipers.cli.options import DataDir
from calipers.cli.stopping import stoppable

if TYPE_CHECKING:
    from calipers.train import Trained


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe file (TOML), or the name of a built-in recipe.")],
    out: Annotated[Path, typer.Option(help="Card to write (*.json); the weights go beside it.")] = Path("model.json"),
    data_dir: DataDir = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint beside --out.")] = False,
) -> None:
    """Train a model by recipe, standard or adversarially, and save safetensors with a JSON card.

    [bold]Example[/]

    calipers train digits --out digits.json
    """
    with stoppable("--resume", out.with_suffix(".checkpoint").exists):
        trained = train_recipe(recipe, out, resume=resume, data_dir=data_dir)
    from calipers.cli.output import console

    summary = ", ".join(f"{name.replace('_', ' ')} {value:.1%}" for name, value in trained.metrics.items())
    console().print(f"{summary}\n{trained.card}", markup=False, soft_wrap=True)


def train_recipe(recipe: str, out: Path, *, resume: bool, data_dir: Path | None) -> "Trained":
    """Train with a progress bar."""
    from calipers.evaluate.progress import busy, track

    with busy("starting"):
        from calipers.data.loading import load_dataset
        from calipers.train import load_recipe, steps_of
        from calipers.train import train as run

        parsed = load_recipe(recipe)
    with busy(f"loading {parsed.data}"):
        dataset = load_dataset(parsed.data, "train", parsed.samples, data_dir)
        held_out = load_dataset(parsed.data, "test", None, data_dir)
    with track(steps_of(parsed, dataset)) as tracker:
        return run(parsed, dataset, held_out, out, tracker.advance, resume=resume)
