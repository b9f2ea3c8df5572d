"""calipers verify."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calipers.cli.options import Device, Json, Memory, Out, Output, Resume, Workers
from calipers.cli.stopping import stoppable

if TYPE_CHECKING:
    from calipers.verify import Limits


@dataclass(frozen=True)
class Kept:
    """How a family is worked on. out: folder of the run store. results: folder of files, if any."""

    out: Path
    results: Path | None
    resume: bool
    workers: int
    device: str


def verify(
    network: Annotated[Path | None, typer.Argument(help="ONNX file, .gz allowed.", show_default=False)] = None,
    property_: Annotated[
        Path | None,
        typer.Argument(metavar="[PROPERTY]", help="VNN-LIB file, version 1.0 or 2.0, .gz allowed.", show_default=False),
    ] = None,
    instances: Annotated[
        Path | None, typer.Option(help="Instead: a CSV file of onnx,vnnlib,seconds; prints a score table.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds per instance; default 60, or what --instances says.")
    ] = None,
    output: Output = None,
    memory: Memory = 1024,
    certificate: Annotated[
        Path | None,
        typer.Option(help="Write the evidence for unsat here, for `calipers check`; further cases get -1, -2, ..."),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Folder to write results.csv and the counterexamples of --instances to.")
    ] = None,
    workers: Workers = 1,
    device: Device = "cpu",
    out: Out = Path("calipers-runs"),
    resume: Resume = False,
    json_: Json = None,
) -> None:
    """Decide VNN-LIB properties: unsat, sat with a counterexample that onnxruntime confirms, unknown or timeout.

    [bold]Example[/]

    calipers verify net.onnx property.vnnlib --timeout 60

    calipers verify --instances instances.csv --workers 2 --resume
    """
    from calipers.bounds import WorkBudget
    from calipers.core.errors import InputError
    from calipers.verify import Limits

    budget = WorkBudget(memory * 2**20)
    if instances is not None:
        if network is not None:
            raise InputError(f"verify: {network} and --instances {instances} are both given; accepted: one of them")
        if certificate is not None:
            raise InputError("verify: --certificate belongs to a single property, not to --instances")
        seconds = float("inf") if timeout is None else timeout
        _family(instances, output, Limits(budget, seconds), Kept(out, results, resume, workers, device), json_)
    elif network is None or property_ is None:
        raise InputError("verify: accepted: a network and a property, or --instances FILE")
    elif results is not None or resume:
        raise InputError("verify: --results and --resume belong to --instances")
    else:
        limits = Limits(budget, 60.0 if timeout is None else timeout)
        _single(network, property_, output, limits, certificate, device, json_)


def _single(
    network: Path,
    property_: Path,
    output: str | None,
    limits: "Limits",
    certificate: Path | None,
    device: str,
    json_: str | None,
) -> None:
    from rich.console import Console

    from calipers.core.devices import device_of
    from calipers.graph.from_onnx import load_onnx_network
    from calipers.verify.vnnlib import Instance, Property, Score, decide, decide_with_evidence

    place = device_of(device)
    with Console(stderr=True).status(f"{network.name} {property_.name}, up to {limits.timeout:g} s"):
        asked = Property.load(property_)
        loaded = load_onnx_network(network, output=output, inputs=asked.inputs)
        if certificate is None:
            answer = decide(loaded, asked, limits, place)
        else:
            answer = decide_with_evidence(loaded, asked, limits, certificate, place)
    if json_ is not None:
        from calipers.cli.output import write_json
        from calipers.cli.said import command_line
        from calipers.report.instances import answer_json

        score = Score(Instance(network, property_, limits.timeout), answer, note=asked.note or answer.reason)
        write_json(answer_json(score, command_line()), json_)
    if json_ != "-":
        print(answer)
        for note in filter(None, (asked.note, answer.reason)):
            Console(stderr=True, soft_wrap=True).print(f"note: {note}", markup=False, highlight=False)


def _family(file: Path, output: str | None, limits: "Limits", kept: "Kept", json_: str | None) -> None:
    from calipers.cli.output import console, write_json
    from calipers.cli.said import command_line
    from calipers.core.devices import device_of
    from calipers.core.errors import SoundnessError
    from calipers.evaluate.families import CODEC, FamilyTask, FamilyWorker, scores_of
    from calipers.evaluate.progress import track
    from calipers.evaluate.run import begin, run
    from calipers.execute import executor_of
    from calipers.report.instances import score_json, score_table
    from calipers.report.views import view_of
    from calipers.store.store import Store
    from calipers.verify.vnnlib import load_instances
    from calipers.verify.vnnlib.results import require_free, write_results

    task = FamilyTask(str(file), load_instances(file), limits.timeout, output, str(device_of(kept.device)))
    if kept.results is not None and not kept.resume:
        require_free(kept.results)
    shared = replace(limits.budget, bytes=max(1, limits.budget.bytes // kept.workers))
    worker = FamilyWorker(task, replace(limits, budget=shared))
    with Store(kept.out) as store:
        started = begin(store, task, command_line(), resume=kept.resume)
        try:
            with stoppable("--resume", lambda: bool(store.units(started.run_id))), track(worker.steps) as tracker:
                run(started, worker, CODEC, store, executor_of(kept.workers), tracker)
        finally:
            if kept.results is not None:
                write_results(kept.results, scores_of(store, started.run_id))
        scores = scores_of(store, started.run_id)
        page = view_of(store, started.run_id).save(kept.out / f"{started.run_id}.html")
    if json_ is not None:
        write_json(score_json(scores, command_line()), json_)
    if json_ != "-":
        console().print(score_table(scores))
        console().print(f"Report:\n{page}", markup=False, soft_wrap=True)
    wrong = [score.instance.name for score in scores if score.contradicts]
    if wrong:
        raise SoundnessError(f"{len(wrong)} answers contradict what the file expects: {', '.join(wrong)}")
