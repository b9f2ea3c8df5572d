"""The three-line interface: measure a module on a data set, or find its nearest adversarial examples."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from calipers.attacks import (
    ATTACKS,
    MINIMUM_NORM_ATTACKS,
    Attack,
    MinimumNormAttack,
    attack_named,
    minimum_norm_attack_named,
)
from calipers.attacks.presets import expand
from calipers.bounds.budget import WorkBudget
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.norms import Norm
from calipers.core.threat import ThreatModel
from calipers.data.images import ImageDataset
from calipers.data.wrap import as_image_dataset
from calipers.evaluate.certify import certify_run
from calipers.evaluate.measure import execute, find_or_create
from calipers.evaluate.prepare import Settings, prepare
from calipers.evaluate.progress import track
from calipers.evaluate.replay import replay
from calipers.graph.from_onnx import load_onnx
from calipers.models.loading import LoadedModel, loaded
from calipers.models.loading import load_model as load_any
from calipers.report.load import load_report
from calipers.report.nearest import Nearest, load_nearest
from calipers.report.page import Report
from calipers.store.store import Store
from calipers.verify import VERIFIERS, Certifier, Resources, Verifier


def measure(
    model: Callable[..., Any] | LoadedModel,
    dataset: Dataset | ImageDataset,
    threat: ThreatModel,
    *,
    epsilons: Sequence[float] | None = None,
    samples: int | None = None,
    attacks: Sequence[Attack | MinimumNormAttack | str] = ("fgsm", "pgd"),
    verifiers: Sequence[Verifier | str] = ("ibp", "capm", "combined"),
    seed: int = 0,
    batch_size: int = 50,
    memory: int = 1024,
    timeout: float = 60.0,
    propagations: int = 1000,
    certify: bool = False,
    out: Path | str = "calipers-runs",
    resume: bool = False,
    command: str | None = None,
) -> Report:
    """Measure a classifier's robustness from both sides.

    model: a module or a function that maps images (batch, channels, height, width) to logits (batch, classes), alone or
    as `.logits` or the first of several outputs; for two classes one logit is enough. In eval mode.
    dataset: yields (image, label); the first `samples` are used (default 100, or all if there are fewer).
    threat: norm, radius, domain and unit of the perturbation. epsilons: several radii instead of the threat's own.
    attacks, verifiers: methods or their names; an empty sequence leaves a side out. The names fast, standard and
    strong stand for groups of attacks that know the norm.
    batch_size: samples per unit of work. memory: MiB for the coefficients of a verifier.
    timeout: seconds per sample and radius for a verifier that searches (complete, milp).
    propagations: forward and backward passes per sample for a minimum-norm attack given by name.
    certify: write a certificate for every verified sample to `out`/certificates/RUN, for `calipers check`.
    out: folder of the run store. resume: go on with a run of the same specification.
    command: how to repeat the run, for the report.

    Returns the report, which shows itself in a notebook. Raises CalipersError for anything the caller can mend and
    SoundnessError if a proof and an attack contradict each other.
    """
    model = _loaded(model)
    data = as_image_dataset(dataset, min(100, len(dataset)) if samples is None else samples)  # type: ignore[arg-type]
    resources = Resources(WorkBudget(memory * 2**20), timeout)
    settings = Settings(
        _attacks(attacks, Norm(threat.norm), propagations),
        tuple(VERIFIERS[v](resources) if isinstance(v, str) else v for v in verifiers),
        seed,
        batch_size,
    )
    measurement = prepare(model, data, threat, [threat.epsilon] if epsilons is None else epsilons, settings)
    with Store(out) as store:
        run = find_or_create(store, measurement, command or _call(model, data, threat, epsilons, settings), resume)
        with track(measurement.work) as tracker:
            execute(store, run, measurement, tracker)
        if certify:
            certify_run(store, run.run_id, measurement, Certifier(resources))
        return load_report(store, run.run_id)


def attack(
    model: Callable[..., Any] | LoadedModel,
    dataset: Dataset | ImageDataset,
    distance: Distance | str = Distance.LINF,
    *,
    attacks: Sequence[MinimumNormAttack | str] = ("nearest",),
    propagations: int = 1000,
    domain: tuple[float, float] | None = (0.0, 1.0),
    unit: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    batch_size: int = 50,
    out: Path | str = "calipers-runs",
    resume: bool = False,
    command: str | None = None,
) -> Nearest:
    """Find the nearest adversarial example of every sample, which is how far the decision boundary is at most.

    distance: linf, l2, l1, l0-pixels or l0-values. attacks: minimum-norm attacks or their names; the nearest over all
    of them counts. propagations: forward and backward passes per sample for attacks given by name. domain, unit: as of
    a `ThreatModel`. The rest: as of `measure`.

    Returns the distances of every attack and of the best, after every stored example has been evaluated and measured
    again. Raises CalipersError for anything the caller can mend.
    """
    loaded = _loaded(model)
    data = as_image_dataset(dataset, min(100, len(dataset)) if samples is None else samples)  # type: ignore[arg-type]
    fixed = next((a for a in attacks if isinstance(a, str) and a in ATTACKS), None)
    if fixed is not None:
        raise InputError(f"attack {fixed!r} searches balls of a given radius; `measure` runs it")
    found = tuple(minimum_norm_attack_named(a)(propagations) if isinstance(a, str) else a for a in attacks)
    settings = Settings(found, (), seed, batch_size, Distance(distance))
    norm = Distance(distance).norm or Norm.LINF  # counts have no balls; the threat carries unit and domain only
    measurement = prepare(loaded, data, ThreatModel(norm, 0.0, domain, unit), (), settings)
    call = command or f"calipers.attack({loaded.name}, {data.name}, {str(distance)!r}, propagations={propagations})"
    with Store(out) as store:
        run = find_or_create(store, measurement, call, resume)
        with track(measurement.work) as tracker:
            execute(store, run, measurement, tracker)
        replay(store, run.run_id, measurement.subject)
        return load_nearest(store, run.run_id)


def load_model(reference: str, weights: Path | str | None = None) -> LoadedModel:
    """Load a model for `measure`: a zoo name, package.module:callable, or a .json card, .pt2 or .onnx file.

    weights: a state dict (.safetensors, .pt, .pth) for the first two forms. Raises ModelError.
    """
    return load_any(reference, None if weights is None else Path(weights), load_onnx)


def _attacks(
    given: Sequence[Attack | MinimumNormAttack | str], norm: Norm, propagations: int
) -> tuple[Attack | MinimumNormAttack, ...]:
    names = expand(tuple(one for one in given if isinstance(one, str)), norm)
    named = [MINIMUM_NORM_ATTACKS[n](propagations) if n in MINIMUM_NORM_ATTACKS else attack_named(n) for n in names]
    return (*named, *(one for one in given if not isinstance(one, str)))


def _loaded(model: Callable[..., Any] | LoadedModel) -> LoadedModel:
    return model if isinstance(model, LoadedModel) else loaded(model)


def _call(
    model: LoadedModel,
    data: ImageDataset,
    threat: ThreatModel,
    epsilons: Sequence[float] | None,
    settings: Settings,
) -> str:
    """The Python call, as far as it can be told, for the report's "how to repeat"."""
    radii = "" if epsilons is None else f", epsilons={list(epsilons)}"
    methods = f"attacks={[a.name for a in settings.attacks]}, verifiers={[v.name for v in settings.verifiers]}"
    return (
        f"calipers.measure({model.name}, {data.name}, {threat!r}{radii}, samples={len(data)}, {methods}, "
        f"seed={settings.seed}, batch_size={settings.batch_size})"
    )
