"""The three-line interface: measure a module on a data set, or find its nearest adversarial examples."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from calipers.attacks import Attack, MinimumNormAttack
from calipers.bounds.budget import WorkBudget
from calipers.core.arguments import amount, member, whole_number
from calipers.core.distances import Distance
from calipers.core.errors import InputError, ModelError
from calipers.core.norms import Norm
from calipers.core.radius import as_radii
from calipers.core.threat import ThreatModel
from calipers.data.images import ImageDataset
from calipers.data.loading import load_dataset
from calipers.data.wrap import as_image_dataset
from calipers.evaluate.certify import certify_run
from calipers.evaluate.measure import execute, find_or_create
from calipers.evaluate.methods import attacks_of, nearest_attacks_of, verifiers_of
from calipers.evaluate.prepare import Settings, prepare
from calipers.evaluate.progress import busy, track
from calipers.evaluate.replay import replay
from calipers.evaluate.requirement import Requirement, as_requirements
from calipers.graph.from_onnx import load_onnx
from calipers.models.loading import LoadedModel, loaded
from calipers.models.loading import load_model as load_any
from calipers.report.call import Name, call_of
from calipers.report.load import load_report
from calipers.report.nearest import Nearest, load_nearest
from calipers.report.page import Report
from calipers.store.store import Store
from calipers.verify import Certifier, Resources, Verifier

_USUAL = 100  # samples


def measure(
    model: Callable[..., Any] | LoadedModel | str | Path,
    dataset: Any,
    threat: ThreatModel,
    *,
    epsilons: float | str | Sequence[float | str] | None = None,
    samples: int | None = None,
    attacks: Attack | MinimumNormAttack | str | Sequence[Attack | MinimumNormAttack | str] | None = ("fgsm", "pgd"),
    verifiers: Verifier | str | Sequence[Verifier | str] | None = ("ibp", "capm", "combined"),
    seed: int = 0,
    batch_size: int = 50,
    memory: int = 1024,
    timeout: float = 60.0,
    propagations: int = 1000,
    certify: bool = False,
    require: str | Requirement | Sequence[str | Requirement] | None = None,
    name: str | None = None,
    data_name: str | None = None,
    out: Path | str = "calipers-runs",
    resume: bool = False,
    command: str | None = None,
) -> Report:
    """Measure a classifier's robustness from both sides.

    model: a module or a function that maps images (batch, channels, height, width) to logits (batch, classes), alone or
    as `.logits` or the first of several outputs; for two classes one logit is enough. In eval mode. Or what
    `load_model` takes or returns.
    dataset: arrays (X, y), a map-style data set, a DataLoader or another iterable; samples are (image, label) or
    dictionaries. Or a name that `load_dataset` takes. The first `samples` are used (default 100, or all if fewer).
    threat: norm, radius or radii, domain and unit of the perturbation. epsilons: instead of the threat's own; radii
    may be text such as "8/255".
    attacks, verifiers: methods or their names, one or several; none leaves a side out. The names fast, standard and
    strong stand for groups of attacks that know the norm.
    batch_size: samples per unit of work. memory: MiB for the coefficients of a verifier.
    timeout: seconds per sample and radius for a verifier that searches (complete, milp).
    propagations: forward and backward passes per sample for a minimum-norm attack given by name.
    certify: write a certificate for every verified sample to `out`/certificates/RUN, for `calipers check`.
    require: levels such as "certified >= 0.9 @ 0.02", empirical or clean; the report's `requirements` tell whether they
    are reached. name, data_name: of model and data, for the report. out: folder of the run store.
    resume: go on with a run of the same specification. command: how to repeat the run, for the report.

    Returns the report, which shows itself in a notebook. Raises CalipersError for anything the caller can mend and
    SoundnessError if a proof and an attack contradict each other.
    """
    if not isinstance(threat, ThreatModel):
        raise InputError(f"threat: is a {type(threat).__name__}; accepted: calipers.ThreatModel('linf', 8 / 255)")
    radii = threat.epsilons if epsilons is None else as_radii(epsilons, "epsilons")
    resources = Resources(WorkBudget(whole_number("memory", memory, 1) * 2**20), amount("timeout", timeout))
    settings = Settings(
        attacks_of(attacks, threat.norm, whole_number("propagations", propagations, 4)),
        verifiers_of(verifiers, resources),
        whole_number("seed", seed, 0),
        whole_number("batch_size", batch_size, 1),
    )
    required = as_requirements(require, radii)
    with busy("loading and checking model and data"):
        loaded, data = _loaded(model, name), _dataset(dataset, samples, data_name)
        measurement = prepare(loaded, data, threat, radii, settings)
    call = command or call_of(
        measure,
        {
            "model": Name("model"),
            "dataset": Name("data"),
            "threat": threat,
            "epsilons": epsilons,
            "samples": len(data),
            "attacks": attacks,
            "verifiers": verifiers,
            "seed": seed,
            "batch_size": batch_size,
            "memory": memory,
            "timeout": timeout,
            "propagations": propagations,
            "certify": certify,
            "require": require,
            "name": name,
            "data_name": data_name,
            "out": out,
        },
    )
    with Store(out) as store:
        run = find_or_create(store, measurement, call, resume)
        store.set_metric(run.run_id, "required", [asdict(one) for one in required])
        with track(measurement.work) as tracker:
            execute(store, run, measurement, tracker)
        if certify:
            certify_run(store, run.run_id, measurement, Certifier(resources))
        with busy("summing up"):
            return load_report(store, run.run_id)


def attack(
    model: Callable[..., Any] | LoadedModel | str | Path,
    dataset: Any,
    distance: Distance | str = Distance.LINF,
    *,
    attacks: MinimumNormAttack | str | Sequence[MinimumNormAttack | str] = ("nearest",),
    propagations: int = 1000,
    domain: tuple[float, float] | None = (0.0, 1.0),
    unit: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    batch_size: int = 50,
    name: str | None = None,
    data_name: str | None = None,
    out: Path | str = "calipers-runs",
    resume: bool = False,
    command: str | None = None,
) -> Nearest:
    """Find the nearest adversarial example of every sample, which is how far the decision boundary is at most.

    distance: linf, l2, l1, l0-pixels or l0-values. attacks: minimum-norm attacks or their names, one or several; the
    nearest over all of them counts. propagations: forward and backward passes per sample for attacks given by name.
    domain, unit: as of a `ThreatModel`. The rest: as of `measure`.

    Returns the distances of every attack and of the best, after every stored example has been evaluated and measured
    again. Raises CalipersError for anything the caller can mend.
    """
    small = member("distance", distance, Distance)
    settings = Settings(
        nearest_attacks_of(attacks, whole_number("propagations", propagations, 4)),
        (),
        whole_number("seed", seed, 0),
        whole_number("batch_size", batch_size, 1),
        small,
    )
    norm = small.norm or Norm.LINF  # counts have no balls; the threat carries unit and domain only
    threat = ThreatModel(norm, 0.0, domain, unit)
    with busy("loading and checking model and data"):
        loaded, data = _loaded(model, name), _dataset(dataset, samples, data_name)
        measurement = prepare(loaded, data, threat, (), settings)
    call = command or call_of(
        attack,
        {
            "model": Name("model"),
            "dataset": Name("data"),
            "distance": str(small),
            "attacks": attacks,
            "propagations": propagations,
            "domain": domain,
            "unit": unit,
            "samples": len(data),
            "seed": seed,
            "batch_size": batch_size,
            "name": name,
            "data_name": data_name,
            "out": out,
        },
    )
    with Store(out) as store:
        run = find_or_create(store, measurement, call, resume)
        with track(measurement.work) as tracker:
            execute(store, run, measurement, tracker)
        with busy("evaluating the examples again"):
            replay(store, run.run_id, measurement.subject)
            return load_nearest(store, run.run_id)


def load_model(reference: str | Path, weights: Path | str | None = None) -> LoadedModel:
    """Load a model for `measure`: a zoo name, package.module:callable, or a .json card, .pt2 or .onnx file.

    weights: a state dict (.safetensors, .pt, .pth) for the first two forms. Raises ModelError.
    """
    if not isinstance(reference, str | Path):
        raise ModelError(
            f"model: {reference!r} is a {type(reference).__name__}; accepted: a zoo name, package.module:callable, or "
            "a .json, .pt2 or .onnx file; `measure` takes modules as they are"
        )
    return load_any(str(reference), None if weights is None else Path(weights), load_onnx)


def _loaded(model: Any, name: str | None) -> LoadedModel:
    """The model under the name that was given, if one was."""
    if isinstance(model, str | Path):
        found = load_model(model)
    elif isinstance(model, LoadedModel):
        found = model
    else:
        found = loaded(model)
    return found if name is None else replace(found, name=str(name))


def _dataset(dataset: Any, samples: Any, name: str | None) -> ImageDataset:
    """The first samples, under the name that was given, if one was."""
    if samples is not None:
        samples = whole_number("samples", samples, 1)
    given = load_dataset(dataset, limit=samples, at_most=_USUAL) if isinstance(dataset, str | Path) else dataset
    data = as_image_dataset(given, samples, at_most=_USUAL)
    return data if name is None else replace(data, name=str(name))
