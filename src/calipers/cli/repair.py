"""calipers repair."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from calipers.cli.options import (
    BallNorm,
    DataDir,
    Json,
    Memory,
    Model,
    Out,
    Output,
    Resume,
    SearchTimeout,
    Seed,
    Split,
    Weights,
    domain,
)
from calipers.cli.stopping import finished_parts, stoppable
from calipers.core.errors import InputError

if TYPE_CHECKING:
    from calipers.evaluate.repair.prepare import Asked

_SEARCHED, _REFERENCE = 1000, 5000


def repair(
    model: Model,
    data: Annotated[
        str | None,
        typer.Option(
            help="digits, mnist, fashion_mnist, cifar10, a Parquet folder, or package.module:callable.",
            show_default=False,
        ),
    ] = None,
    property_: Annotated[
        Path | None,
        typer.Option(
            "--property",
            metavar="FILE",
            help="Instead of samples: a VNN-LIB property that the network (.onnx) violates; afterwards it is proven.",
            show_default=False,
        ),
    ] = None,
    failures: Annotated[
        Path | None,
        typer.Option(help="Instead of searching: a .npz file with arrays inputs and labels.", show_default=False),
    ] = None,
    attack: Annotated[str, typer.Option(help="Attack that searches failures, and attacks the repaired model.")] = "pgd",
    norm: BallNorm = "linf",
    eps: Annotated[str, typer.Option(metavar="RADIUS", help="Radius of the attack.")] = "0.1",
    wanted: Annotated[int, typer.Option(min=1, help="Failures to repair; those found beyond are held out.")] = 100,
    guarantee: Annotated[
        Literal["point", "box", "linear"],
        typer.Option(help="Where a repaired sample is right: at the failure, or on a ball around it by bounds."),
    ] = "point",
    radius: Annotated[str, typer.Option(help="Radius of the balls of guarantees box and linear.")] = "0",
    margin: Annotated[
        float | None, typer.Option(help="Logits between label and other classes; default: half of what is usual.")
    ] = None,
    objective: Annotated[
        Literal["mahalanobis", "l2", "l1", "elastic"],
        typer.Option(help="What is made small: the effect on clean data, the weights' change, or how many change."),
    ] = "mahalanobis",
    ridge: Annotated[float, typer.Option(help="Of mahalanobis: from clean data alone (0) to l2 (inf).")] = 1e-2,
    layer: Annotated[str | None, typer.Option(help="Fully connected layer to change; default: the last.")] = None,
    keep: Annotated[int, typer.Option(min=0, help="Clean samples that have to stay right.")] = 0,
    keep_certified: Annotated[int, typer.Option(min=0, help="Clean samples whose ball has to stay proven.")] = 0,
    rounds: Annotated[int, typer.Option(min=0, help="Rounds of fresh attacks whose finds are repaired too.")] = 0,
    max_drawdown: Annotated[
        float | None, typer.Option(help="Percentage points of clean accuracy that the patch may cost at most.")
    ] = None,
    patch: Annotated[Path, typer.Option("--patch", help="Card of the patch to write (*.json).")] = Path("patch.json"),
    weights: Weights = None,
    output: Output = None,
    data_dir: DataDir = None,
    split: Split = "test",
    samples: Annotated[
        int | None, typer.Option(min=1, help=f"Samples to search and to compare on; default {_SEARCHED}.")
    ] = None,
    reference_split: Annotated[str, typer.Option(help="Clean data that the repair may look at.")] = "train",
    unit: Annotated[Literal["pixel", "normalised"] | None, typer.Option(help="Unit of radii.")] = None,
    domain_: Annotated[
        str | None,
        typer.Option(
            "--domain",
            help="Interval of valid input values, or none (default 0,1); with --property: where the network stays as "
            "it was (default: from its least to its largest bound).",
            show_default=False,
        ),
    ] = None,
    seed: Seed = 0,
    timeout: SearchTimeout = 60.0,
    memory: Memory = 1024,
    out: Out = Path("calipers-runs"),
    resume: Resume = False,
    json_: Json = None,
) -> None:
    """Change one layer so that known failures are right, prove it, and write what changes as a patch.

    [bold]Example[/]

    calipers repair --model digits.small --data digits --attack fgsm --eps 0.1 --guarantee linear --radius 0.002

    calipers repair --model net.onnx --property safe.vnnlib --patch safe.json

    calipers apply patch.json --model digits.small --out repaired.json
    """
    if property_ is not None:
        if data is not None or failures is not None:
            raise InputError("repair: --property stands alone; accepted: it, or --data")
        from calipers.cli.properties import AskedProperty, repair_a_property

        interval = None if domain_ is None else domain(domain_)
        with stoppable("nothing changed", lambda: False):
            asked_property = AskedProperty(model, property_, patch, layer, interval, margin, seed, timeout, memory)
            repair_a_property(asked_property, json_)
        return
    if data is None:
        raise InputError("repair: accepted: --data with failures to search among, or --property FILE")
    from calipers.evaluate.progress import busy, track

    with stoppable("--resume", finished_parts(out)):
        with busy("starting"):
            from calipers.api import load_model
            from calipers.attacks.attack import attack_named
            from calipers.bounds import WorkBudget
            from calipers.cli.said import command_line
            from calipers.core.radius import as_radii
            from calipers.core.threat import ThreatModel
            from calipers.data.loading import load_dataset
            from calipers.evaluate.repair.prepare import Asked, prepare_repair
            from calipers.evaluate.repair.run import repair_in
            from calipers.repairs.settings import Guarantee, RepairSettings
            from calipers.store.store import Store
            from calipers.verify import Limits

        around = 0.0 if radius == "0" else max(as_radii(radius, "--radius"))
        settings = RepairSettings(
            Guarantee(guarantee), around, margin, objective, ridge, layer, keep, keep_certified, rounds
        )
        threat = ThreatModel(norm, max(as_radii(eps, "--eps")), domain(domain_ or "0,1"), unit)
        limits = Limits(WorkBudget(memory * 2**20), timeout)
        asked = Asked(settings, attack_named(attack), wanted, max_drawdown, seed, limits, patch)
        with busy(f"loading {model} and {data}"):
            loaded = load_model(model, weights, output=output)
            evaluation = load_dataset(data, split, samples, data_dir, at_most=_SEARCHED)
            reference = load_dataset(data, reference_split, None, data_dir, at_most=_REFERENCE)
            worker = prepare_repair(loaded, evaluation, reference, threat, asked, failures)
        with Store(out) as store:
            with track(worker.steps) as tracker:
                ended = repair_in(store, worker, command_line(), tracker, resume=resume)
            _show(store, ended.run_id, out, asked, json_)


def _show(store: object, run_id: str, out: Path, asked: "Asked", json_: str | None) -> None:
    from calipers.cli.output import console, print_parts, write_json
    from calipers.report.views import view_of
    from calipers.store.store import Store

    assert isinstance(store, Store)
    view = view_of(store, run_id)
    page = view.save(out / f"{run_id}.html")
    if json_ is not None:
        write_json(view.rows, json_)
    found = store.metric(run_id, "repair") or {}
    if json_ != "-":
        print_parts(view.terminal)
        if found.get("accepted"):
            console().print(f"Patch:\n{asked.out}", markup=False, soft_wrap=True)
        console().print(f"Report:\n{page}", markup=False, soft_wrap=True)
    if not found.get("accepted"):
        raise InputError(
            f"repair: it costs {found['drawdown_pp']:.2f} percentage points of clean accuracy, --max-drawdown allows "
            f"{found['max_drawdown']:g}: no patch was written; accepted: more, a smaller --margin or --radius, fewer "
            "failures, or --keep N"
        )
