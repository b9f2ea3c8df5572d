"""calipers attack."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from calipers.cli.options import (
    USUAL_SAMPLES,
    BatchSize,
    Data,
    DataDir,
    DataName,
    Device,
    Domain,
    Json,
    Model,
    Name,
    Out,
    Output,
    Resume,
    Samples,
    Seed,
    Split,
    Weights,
    Workers,
    domain,
    names,
)
from calipers.cli.stopping import finished_parts, stoppable


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
    output: Output = None,
    data_dir: DataDir = None,
    split: Split = "test",
    samples: Samples = None,
    domain_: Domain = "0,1",
    seed: Seed = 0,
    batch_size: BatchSize = 50,
    workers: Workers = 1,
    device: Device = "cpu",
    name: Name = None,
    data_name: DataName = None,
    out: Out = Path("calipers-runs"),
    resume: Resume = False,
    json_: Json = None,
) -> None:
    """Find the nearest adversarial example of every sample: success rate, median and mean distance, a curve.

    Examples are stored, and evaluated and measured again before any number is printed.

    [bold]Example[/]

    calipers attack --model digits.json --data digits --norm l2 --propagations 500
    """
    from calipers.evaluate.progress import busy

    interval = domain(domain_)
    with stoppable("--resume", finished_parts(out)):
        with busy("starting"):
            from calipers.api import attack as run_attacks
            from calipers.api import load_model
            from calipers.cli.output import console, print_warnings, write_json
            from calipers.cli.said import command_line
            from calipers.core.tables import to_json
            from calipers.data.loading import load_dataset
            from calipers.report.curves import save_distance_curve

        with busy(f"loading {model} and {data}"):
            loaded = load_model(model, weights, output=output)
            dataset = load_dataset(data, split, samples, data_dir, at_most=USUAL_SAMPLES)
        found = run_attacks(
            loaded,
            dataset,
            norm,
            attacks=names(attacks),
            propagations=propagations,
            domain=interval,
            unit=unit,
            samples=samples,
            seed=seed,
            batch_size=batch_size,
            workers=workers,
            device=device,
            name=name,
            data_name=data_name,
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
    console().print(found.table(console().width))
    print_warnings(found.warnings)
    if figure is not None:
        console().print(f"Accuracy against distance:\n{figure}", markup=False, soft_wrap=True)
