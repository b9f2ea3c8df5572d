"""The three-line interface: measure a module on a data set, or find its nearest adversarial examples."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from calipers.attacks import Attack, MinimumNormAttack
from calipers.core.arguments import member
from calipers.core.distances import Distance
from calipers.core.errors import InputError, ModelError
from calipers.core.radius import as_radii
from calipers.core.resources import DEFAULTS, Keeping, Options, Resources, gathered
from calipers.core.space import InputSpace, RadiusUnit
from calipers.core.threat import ThreatModel
from calipers.data.images import ImageDataset
from calipers.data.loading import load_dataset
from calipers.data.wrap import as_image_dataset
from calipers.evaluate.comparison.compare import compare as run_comparison
from calipers.evaluate.comparison.names import distinct, made
from calipers.evaluate.progress import busy, track
from calipers.evaluate.repair.patching import patch_for
from calipers.evaluate.robustness.certify import certify_run
from calipers.evaluate.robustness.measure import measure as run_measurement
from calipers.evaluate.robustness.methods import attacks_of, limits_of, nearest_attacks_of, verifiers_of
from calipers.evaluate.robustness.prepare import Settings, prepare
from calipers.evaluate.robustness.replay import replay
from calipers.evaluate.robustness.requirement import Requirement, as_requirements
from calipers.evaluate.robustness.summary import RobustnessReport
from calipers.evaluate.robustness.worker import RobustnessWorker
from calipers.evaluate.threads import at_most
from calipers.execute import executor_of
from calipers.graph.from_onnx import load_onnx
from calipers.models.loading import LoadedModel, loaded
from calipers.models.loading import load_model as load_any
from calipers.repairs.patch import Patch
from calipers.repairs.settings import Guarantee, RepairSettings
from calipers.report.call import Name, call_of
from calipers.report.frame import View
from calipers.report.load import load_report
from calipers.report.nearest import NearestReport, load_nearest
from calipers.report.page import Report
from calipers.report.views import view_of
from calipers.store.store import Store
from calipers.verify import Certifier, Verifier

_USUAL = 100  # samples

AttackLike = Attack | MinimumNormAttack | str
VerifierLike = Verifier | str
RequirementLike = Requirement | str


def measure(
    model: Callable[..., Any] | LoadedModel | str | Path,
    dataset: Any,
    threat: ThreatModel,
    *,
    attacks: AttackLike | Sequence[AttackLike] | None = ("fgsm", "pgd"),
    verifiers: VerifierLike | Sequence[VerifierLike] | None = ("ibp", "capm", "combined"),
    require: RequirementLike | Sequence[RequirementLike] | None = None,
    resources: Resources | None = None,
    **options: Unpack[Options],
) -> Report:
    """Measure a classifier's robustness from both sides.

    model: a module or a function that maps images (batch, channels, height, width) to logits (batch, classes), alone or
    as `.logits` or the first of several outputs; for two classes one logit is enough. In eval mode. Or what
    `load_model` takes or returns.
    dataset: arrays (X, y), a map-style data set, a DataLoader or another iterable; samples are (image, label) or
    dictionaries. Or a name that `load_dataset` takes. The first `samples` are used (default 100, or all if fewer).
    threat: norm, radius or radii, domain and unit of the perturbation.
    attacks, verifiers: methods or their names, one or several; none leaves a side out. The names fast, standard and
    strong stand for groups of attacks that know the norm.
    require: levels such as "certified >= 0.9 @ 0.02", empirical or clean; the report's `requirements` tell whether they
    are reached.
    resources: memory, timeout, propagations, workers ... of `calipers.Resources`, which may also be given as keywords.
    options: also the fields of `calipers.core.resources.Keeping`: samples, seed, epsilons (instead of the threat's, as
    numbers or text such as "8/255"), certify, name, data_name, out, resume, command.

    Returns the report, which shows itself in a notebook. Raises CalipersError for anything the caller can mend and
    SoundnessError if a proof and an attack contradict each other.
    """
    if not isinstance(threat, ThreatModel):
        raise InputError(f"threat: is a {type(threat).__name__}; accepted: calipers.ThreatModel('linf', 8 / 255)")
    spent, kept = gathered(options, resources)
    radii = threat.epsilons if kept.epsilons is None else as_radii(kept.epsilons, "epsilons")
    settings = Settings(
        attacks_of(attacks, threat.norm, spent),
        verifiers_of(verifiers, spent),
        kept.seed,
        spent.batch_size,
        spent.device,
    )
    required = as_requirements(require, radii)
    with busy("loading and checking model and data"), at_most(spent.threads):
        loaded, data = _loaded(model, kept.name), _dataset(dataset, kept)
        worker = prepare(loaded, data, threat.space, Distance(threat.norm), radii, settings)
        worker = replace(worker, required=required).shared(spent.workers)
    call = kept.command or call_of(
        measure,
        {
            "model": Name("model"),
            "dataset": Name("data"),
            "threat": threat,
            "attacks": attacks,
            "verifiers": verifiers,
            "require": require,
            "resources": resources,
            **{**options, "samples": len(data)},
        },
        {**DEFAULTS, "resume": kept.resume},
    )
    with Store(kept.out) as store, at_most(spent.threads):
        found = _measured(store, worker, call, spent, kept)
        if kept.certify:
            certify_run(store, found.run_id, worker, Certifier(limits_of(spent)))
        with busy("summing up"):
            return load_report(store, found.run_id)


def attack(
    model: Callable[..., Any] | LoadedModel | str | Path,
    dataset: Any,
    distance: Distance | str = Distance.LINF,
    *,
    attacks: MinimumNormAttack | str | Sequence[MinimumNormAttack | str] = ("nearest",),
    domain: tuple[float, float] | None = (0.0, 1.0),
    unit: str | None = None,
    resources: Resources | None = None,
    **options: Unpack[Options],
) -> NearestReport:
    """Find the nearest adversarial example of every sample, which is how far the decision boundary is at most.

    distance: linf, l2, l1, l0-pixels or l0-values. attacks: minimum-norm attacks or their names, one or several; the
    nearest over all of them counts. domain, unit: as of a `ThreatModel`. The rest: as of `measure`.

    Returns the distances of every attack and of the best, after every stored example has been evaluated and measured
    again. Raises CalipersError for anything the caller can mend.
    """
    small = member("distance", distance, Distance)
    spent, kept = gathered(options, resources)
    for name in ("epsilons", "certify"):
        if name in options:
            raise InputError(f"{name}: belongs to `measure`; `attack` knows no radii and proves nothing")
    settings = Settings(nearest_attacks_of(attacks, spent), (), kept.seed, spent.batch_size, spent.device)
    space = InputSpace.of(domain, unit)
    with busy("loading and checking model and data"), at_most(spent.threads):
        loaded, data = _loaded(model, kept.name), _dataset(dataset, kept)
        worker = prepare(loaded, data, space, small, (), settings)
    call = kept.command or call_of(
        attack,
        {
            "model": Name("model"),
            "dataset": Name("data"),
            "distance": str(small),
            "attacks": attacks,
            "domain": domain,
            "unit": unit,
            "resources": resources,
            **{**options, "samples": len(data)},
        },
        {**DEFAULTS, "resume": kept.resume},
    )
    with Store(kept.out) as store, at_most(spent.threads):
        found = _measured(store, worker, call, spent, kept)
        with busy("evaluating the examples again"):
            replay(store, found.run_id, worker.subject)
            return load_nearest(store, found.run_id)


def compare(
    models: Sequence[str | Path],
    dataset: Any,
    threat: ThreatModel,
    *,
    attacks: AttackLike | Sequence[AttackLike] | None = ("standard",),
    verifiers: VerifierLike | Sequence[VerifierLike] | None = ("combined",),
    resources: Resources | None = None,
    **options: Unpack[Options],
) -> View:
    """Measure several models on the same samples against the same threat, and put them side by side.

    models: two or more, as `load_model` takes them. The rest: as of `measure`; without a unit, radii are of pixels.
    Every model gets a run of its own; with resume=True what was measured before is not measured again.

    Returns the page, with `rows` for machines. Raises as `measure` does.
    """
    spent, kept = gathered(options, resources)
    for name in ("epsilons", "certify", "name"):
        if name in options:
            raise InputError(f"{name}: belongs to `measure`; `compare` takes radii in the threat, and several models")
    chosen = attacks_of(attacks, threat.norm, spent), verifiers_of(verifiers, spent)
    settings = Settings(*chosen, kept.seed, spent.batch_size, spent.device)
    space = InputSpace.of(threat.domain, threat.unit or RadiusUnit.PIXEL)
    contenders = []
    with busy("loading and checking models and data"), at_most(spent.threads):
        data = _dataset(dataset, kept)
        for name, reference in zip(distinct(models), models, strict=True):
            worker = prepare(load_model(reference), data, space, Distance(threat.norm), threat.epsilons, settings)
            contenders.append((name, made(reference), worker.shared(spent.workers)))
    arguments = {"models": [str(one) for one in models], "dataset": Name("data"), "threat": threat}
    methods = {"attacks": attacks, "verifiers": verifiers, "resources": resources, **options, "samples": len(data)}
    call = kept.command or call_of(compare, {**arguments, **methods}, {**DEFAULTS, "resume": kept.resume})
    steps = sum(worker.steps for *_, worker in contenders)
    with Store(kept.out) as store, at_most(spent.threads):
        with track(steps) as tracker:
            executor = executor_of(spent.workers)
            found = run_comparison(store, contenders, call, resume=kept.resume, executor=executor, tracker=tracker)
        return view_of(store, found.run_id)


def repair(
    model: Callable[..., Any] | LoadedModel | str | Path,
    failures: Any,
    clean: Any,
    *,
    guarantee: Guarantee | str = Guarantee.POINT,
    radius: Any = 0.0,
    threat: ThreatModel | None = None,
    **settings: Any,
) -> Patch:
    """Change one fully connected layer so that known failures are right, at almost no cost elsewhere.

    failures: misclassified inputs with the labels that they should have, as `measure` takes data: (X, y), a data set.
    clean: data that tell what has to stay, likewise; up to 5,000 are looked at. guarantee: "point": right at the
    failures; "box", "linear": on balls of `radius` around them, by bounds. threat: norm, unit and domain of the balls
    (default linf in [0, 1]). settings: other fields of `calipers.repairs.settings.RepairSettings`, such as margin,
    objective, ridge, layer and keep.

    Returns a patch with `apply(model)` and `save(path)`. Raises CalipersError for anything the caller can mend;
    InfeasibleError names the samples that clash. `calipers repair` also searches failures, proves balls and measures.
    """
    asked = RepairSettings(
        member("guarantee", guarantee, Guarantee), max(as_radii(radius)) if radius else 0.0, **settings
    )
    norm = threat or ThreatModel("linf", asked.radius or 1.0)
    with busy("repairing"):
        wrong, known = (as_image_dataset(one, None, at_most=5000) for one in (failures, clean))
        return patch_for(_loaded(model, None), wrong, known, norm, asked)


def load_model(reference: str | Path, weights: Path | str | None = None, *, output: str | None = None) -> LoadedModel:
    """Load a model for `measure`: a zoo name, package.module:callable, or a .json card, .pt2 or .onnx file.

    weights: a state dict (.safetensors, .pt, .pth) for the first two forms. output: which one of an ONNX file's, if it
    has several. Raises ModelError.
    """
    if not isinstance(reference, str | Path):
        raise ModelError(
            f"model: {reference!r} is a {type(reference).__name__}; accepted: a zoo name, package.module:callable, or "
            "a .json, .pt2 or .onnx file; `measure` takes modules as they are"
        )
    if output is not None and Path(reference).suffix != ".onnx":
        raise InputError(f"output {output!r}: {reference} is no ONNX file; accepted: a name among the outputs of one")
    reader = partial(load_onnx, output=output)
    return load_any(str(reference), None if weights is None else Path(weights), reader)


def _measured(
    store: Store, worker: RobustnessWorker, command: str, spent: Resources, kept: Keeping
) -> RobustnessReport:
    """The run, with progress."""
    executor = executor_of(spent.workers)
    with track(worker.steps) as tracker:
        return run_measurement(store, worker, command, resume=kept.resume, executor=executor, tracker=tracker)


def _loaded(model: Any, name: str | None) -> LoadedModel:
    """The model under the name that was given, if one was."""
    if isinstance(model, str | Path):
        found = load_model(model)
    elif isinstance(model, LoadedModel):
        found = model
    else:
        found = loaded(model)
    return found if name is None else replace(found, name=str(name))


def _dataset(dataset: Any, kept: Keeping) -> ImageDataset:
    """The first samples, under the name that was given, if one was."""
    named = isinstance(dataset, str | Path)
    given = load_dataset(dataset, limit=kept.samples, at_most=_USUAL) if named else dataset
    data = as_image_dataset(given, kept.samples, at_most=_USUAL)
    return data if kept.data_name is None else replace(data, name=str(kept.data_name))
