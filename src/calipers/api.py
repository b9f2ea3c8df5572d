"""The three-line interface: measure a module on a data set."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn
from torch.utils.data import Dataset

from calipers.attacks import Attack, attack_named
from calipers.bounds.budget import MemoryBudget
from calipers.core.digests import digest_module
from calipers.core.threat import ThreatModel
from calipers.data.images import ImageDataset
from calipers.data.wrap import as_image_dataset
from calipers.evaluate.certify import certify_run
from calipers.evaluate.measure import execute, find_or_create
from calipers.evaluate.prepare import Settings, prepare
from calipers.evaluate.progress import track
from calipers.graph.from_onnx import load_onnx
from calipers.models.loading import LoadedModel
from calipers.models.loading import load_model as load_any
from calipers.models.normalise import input_std
from calipers.report.load import load_report
from calipers.report.page import Report
from calipers.store.store import Store
from calipers.verify import VERIFIERS, Certifier, Resources, Verifier


def measure(
    model: nn.Module | LoadedModel,
    dataset: Dataset | ImageDataset,
    threat: ThreatModel,
    *,
    epsilons: Sequence[float] | None = None,
    samples: int | None = None,
    attacks: Sequence[Attack | str] = ("fgsm", "pgd"),
    verifiers: Sequence[Verifier | str] = ("ibp", "capm", "combined"),
    seed: int = 0,
    batch_size: int = 50,
    memory: int = 1024,
    timeout: float = 60.0,
    certify: bool = False,
    out: Path | str = "calipers-runs",
    resume: bool = False,
    command: str | None = None,
) -> Report:
    """Measure a classifier's robustness from both sides.

    model: maps images (batch, channels, height, width) to logits (batch, classes); in eval mode.
    dataset: yields (image, label); the first `samples` are used (default 100, or all if there are fewer).
    threat: norm, radius, domain and unit of the perturbation. epsilons: several radii instead of the threat's own.
    attacks, verifiers: methods or their names; an empty sequence leaves a side out.
    batch_size: samples per unit of work. memory: MiB for the coefficients of a verifier.
    timeout: seconds per sample and radius for a verifier that searches (complete, milp).
    certify: write a certificate for every verified sample to `out`/certificates/RUN, for `calipers check`.
    out: folder of the run store. resume: go on with a run of the same specification.
    command: how to repeat the run, for the report.

    Returns the report, which shows itself in a notebook. Raises CalipersError for anything the caller can mend and
    SoundnessError if a proof and an attack contradict each other.
    """
    if not isinstance(model, LoadedModel):
        model = LoadedModel(model, type(model).__name__, digest_module(model), None, input_std(model), None)
    data = as_image_dataset(dataset, min(100, len(dataset)) if samples is None else samples)  # type: ignore[arg-type]
    resources = Resources(MemoryBudget(memory * 2**20), timeout)
    settings = Settings(
        tuple(attack_named(a) if isinstance(a, str) else a for a in attacks),
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
            folder = Path(out) / "certificates" / run.run_id
            certify_run(store, run.run_id, measurement, Certifier(resources), folder)
        return load_report(store, run.run_id)


def load_model(reference: str, weights: Path | str | None = None) -> LoadedModel:
    """Load a model for `measure`: a zoo name, package.module:callable, or a .json card, .pt2 or .onnx file.

    weights: a state dict (.safetensors, .pt, .pth) for the first two forms. Raises ModelError.
    """
    return load_any(reference, None if weights is None else Path(weights), load_onnx)


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
