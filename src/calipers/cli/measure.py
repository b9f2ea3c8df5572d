"""calipers measure."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from calipers.cli.options import (
    USUAL_SAMPLES,
    Attacks,
    BallNorm,
    BatchSize,
    Data,
    DataDir,
    DataName,
    Device,
    Domain,
    Eps,
    Json,
    Memory,
    Model,
    Name,
    Out,
    Output,
    Propagations,
    Resume,
    Samples,
    SearchTimeout,
    Seed,
    Split,
    Verifiers,
    Weights,
    Workers,
    domain,
    names,
)
from calipers.cli.stopping import finished_parts, stoppable
from calipers.core.radius import as_radii


def measure(
    model: Model,
    data: Data,
    eps: Eps,
    norm: BallNorm = "linf",
    unit: Annotated[
        Literal["pixel", "normalised"] | None,
        typer.Option(help="Unit of the radii; must be given for models that normalise their input."),
    ] = None,
    weights: Weights = None,
    output: Output = None,
    data_dir: DataDir = None,
    split: Split = "test",
    samples: Samples = None,
    domain_: Domain = "0,1",
    attacks: Attacks = "fgsm,pgd",
    verifiers: Verifiers = "ibp,capm,combined",
    propagations: Propagations = 1000,
    seed: Seed = 0,
    batch_size: BatchSize = 50,
    workers: Workers = 1,
    device: Device = "cpu",
    memory: Memory = 1024,
    timeout: SearchTimeout = 60,
    certify: Annotated[
        bool, typer.Option("--certify", help="Write a certificate for every verified sample, for `calipers check`.")
    ] = False,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LEVEL",
            help='A level to reach, "certified >= 0.9 @ 0.02", empirical or clean; else exit status 1. Repeatable.',
        ),
    ] = None,
    name: Name = None,
    data_name: DataName = None,
    out: Out = Path("calipers-runs"),
    resume: Resume = False,
    json_: Json = None,
) -> None:
    """Measure a classifier from both sides: clean, empirical and certified accuracy, and what lies between.

    [bold]Example[/]

    calipers measure --model digits.json --data digits --norm linf --eps 0.02 0.05 0.1
    """
    from calipers.evaluate.progress import busy

    radii, interval = as_radii(eps, "--eps"), domain(domain_)
    with stoppable("--resume", finished_parts(out)):
        with busy("starting"):
            from calipers.api import load_model
            from calipers.api import measure as measure_model
            from calipers.cli.output import finish
            from calipers.cli.said import command_line
            from calipers.core.threat import ThreatModel
            from calipers.data.loading import load_dataset

        threat = ThreatModel(norm, radii, interval, unit)
        with busy(f"loading {model} and {data}"):
            loaded = load_model(model, weights, output=output)
            dataset = load_dataset(data, split, samples, data_dir, at_most=USUAL_SAMPLES)
        report = measure_model(
            loaded,
            dataset,
            threat,
            samples=samples,
            attacks=names(attacks),
            verifiers=names(verifiers),
            seed=seed,
            batch_size=batch_size,
            workers=workers,
            device=device,
            memory=memory,
            timeout=timeout,
            propagations=propagations,
            certify=certify,
            require=require,
            name=name,
            data_name=data_name,
            out=out,
            resume=resume,
            command=command_line(),
        )
    finish(report, out, json_)
    if not all(outcome.passed for outcome in report.requirements):
        raise typer.Exit(1)
