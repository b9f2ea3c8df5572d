"""calipers compare."""

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
    Device,
    Domain,
    Eps,
    Json,
    Memory,
    Out,
    Propagations,
    Resume,
    Samples,
    SearchTimeout,
    Seed,
    Split,
    Verifiers,
    Workers,
    domain,
    names,
)
from calipers.cli.stopping import finished_parts, stoppable
from calipers.core.radius import as_radii


def compare(
    models: Annotated[list[str], typer.Argument(help="Two or more: cards (*.json), zoo names, .pt2 or .onnx files.")],
    data: Data,
    eps: Eps,
    norm: BallNorm = "linf",
    unit: Annotated[Literal["pixel", "normalised"], typer.Option(help="Unit of the radii.")] = "pixel",
    data_dir: DataDir = None,
    split: Split = "test",
    samples: Samples = None,
    domain_: Domain = "0,1",
    attacks: Attacks = "standard",
    verifiers: Verifiers = "combined",
    propagations: Propagations = 1000,
    seed: Seed = 0,
    batch_size: BatchSize = 50,
    workers: Workers = 1,
    device: Device = "cpu",
    memory: Memory = 1024,
    timeout: SearchTimeout = 60,
    out: Out = Path("calipers-runs"),
    resume: Resume = False,
    json_: Json = None,
) -> None:
    """Put models side by side: clean, empirical and certified accuracy on the same samples, distances and times.

    Every model gets a run of its own. With --resume, what was measured before is not measured again.

    [bold]Example[/]

    calipers compare small.json robust.json certified.json --data digits --norm linf --eps 0.05
    """
    from calipers.evaluate.progress import busy

    radii, interval = as_radii(eps, "--eps"), domain(domain_)
    with stoppable("--resume", finished_parts(out)):
        with busy("starting"):
            from calipers.api import compare as compare_models
            from calipers.cli.output import console, print_parts, write_json
            from calipers.cli.said import command_line
            from calipers.core.threat import ThreatModel
            from calipers.data.loading import load_dataset

        with busy(f"loading {data}"):
            dataset = load_dataset(data, split, samples, data_dir, at_most=USUAL_SAMPLES)
        view = compare_models(
            models,
            dataset,
            ThreatModel(norm, radii, interval, unit),
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
            out=out,
            resume=resume,
            command=command_line(),
        )
    page = view.save(out / f"{view.run_id}.html")
    if json_ is not None:
        write_json(view.rows, json_)
    if json_ != "-":
        print_parts(view.terminal)
        console().print(f"Report:\n{page}", markup=False, soft_wrap=True)
