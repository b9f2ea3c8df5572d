"""calipers attack."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from calipers.cli.options import (
    BatchSize,
    Data,
    DataDir,
    Domain,
    Json,
    Model,
    Out,
    Resume,
    Samples,
    Seed,
    Split,
    Weights,
    domain,
    names,
)


def attack(
    model: Model,
    data: Data,
    norm: Annotated[
        Literal["linf", "l2", "l1", "l0-pixels", "l0-values"],
        typer.Option(help="The distance to make small; l0 counts pixels (all channels of a place) or values."),
    ] = "linf",
    attacks: Annotated[
        str, typer.Option(help="Minimum-norm attacks by name, separated by commas; the nearest of all counts.")
    ] = "nearest",
    propagations: Annotated[int, typer.Option(min=4, help="Forward and backward passes per sample and attack.")] = 1000,
    unit: Annotated[
        Literal["pixel", "normalised"] | None,
        typer.Option(help="Unit of distances; must be given for models that normalise their input."),
    ] = None,
    weights: Weights = None,
    data_dir: DataDir = None,
    split: Split = "test",
    samples: Samples = 100,
    domain_: Domain = "0,1",
    seed: Seed = 0,
    batch_size: BatchSize = 50,
    out: Out = Path("calipers-runs"),
    resume: Resume = False,
    json_: Json = None,
) -> None:
    """Find the nearest adversarial example of every sample: success rate, median and mean distance, a curve.

    Examples are stored, and evaluated and measured again before any number is printed.

    [bold]Example[/]

    calipers attack --model digits.json --data digits --norm l2 --propagations 500
    """
    from calipers.api import attack as run_attacks
    from calipers.api import load_model
    from calipers.cli.output import command_line, console, print_warnings, stoppable, write_json
    from calipers.core.tables import to_json
    from calipers.data.loading import load_dataset
    from calipers.report.curves import save_distance_curve

    with stoppable("--resume"):
        found = run_attacks(
            load_model(model, weights),
            load_dataset(data, split, samples, data_dir),
            norm,
            attacks=names(attacks),
            propagations=propagations,
            domain=domain(domain_),
            unit=unit,
            samples=samples,
            seed=seed,
            batch_size=batch_size,
            out=out,
            resume=resume,
            command=command_line(),
        )
    figure = save_distance_curve(found, out / f"{found.run_id}-distances.png")
    if json_ is not None:
        said = [f"{warning.message} ({warning.evidence})" for warning in found.warnings]
        write_json(to_json(found.command, [*found.rows()], seed, said), json_)
    if json_ == "-":
        return
    console().print(f"{found.correct} of {found.samples} samples are classified correctly.")
    console().print(found.table())
    print_warnings(found.warnings)
    if figure is not None:
        console().print(f"Accuracy against distance:\n{figure}", markup=False, soft_wrap=True)
