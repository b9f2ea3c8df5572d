"""Before a repair starts: what can be checked is checked, and its task is settled."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from calipers.attacks import PGD, Attack
from calipers.bounds import WorkBudget
from calipers.core.digests import digest_json
from calipers.core.errors import InputError
from calipers.core.threat import ThreatModel
from calipers.core.tracker import Silent, Tracker
from calipers.core.warnings import SanityWarning
from calipers.data.domain import fit_domain
from calipers.data.images import ImageDataset
from calipers.evaluate.repair.task import RepairTask
from calipers.evaluate.repair.worker import RepairWorker
from calipers.graph.from_torch import graph_of
from calipers.models.checks import check_model, output_size
from calipers.models.loading import LoadedModel
from calipers.models.presented import examples, present
from calipers.repairs.change import Subject
from calipers.repairs.failing import Samples
from calipers.repairs.settings import RepairSettings
from calipers.verify import Certifier, Complete, Limits


@dataclass(frozen=True)
class Asked:
    """How a repair is to go about it. See `RepairTask`; attack: that searches failures, and that attacks afresh.
    limits: of a proof. out: card of the patch to write.
    """

    settings: RepairSettings = field(default_factory=RepairSettings)
    attack: Attack = field(default_factory=PGD)
    wanted: int = 100
    max_drawdown: float | None = None
    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    out: Path = Path("patch.json")


def prepare_repair(
    model: LoadedModel,
    evaluation: ImageDataset,
    reference: ImageDataset,
    threat: ThreatModel,
    asked: Asked,
    failures: Path | None = None,
    tracker: Tracker | None = None,
) -> RepairWorker:
    """reference: clean data that the repair may look at; it is not measured on it. failures: a file of them; None:
    those that the attack finds in `evaluation`. Raises CalipersError for what the caller can mend.
    """
    if asked.out.suffix != ".json":
        raise InputError(f"--out {asked.out}: the ending is {asked.out.suffix!r}; accepted: .json, a card")
    if asked.wanted < 1:
        raise InputError(f"repair: {asked.wanted} failures are wanted; accepted: 1 or more")
    threat = threat.for_model(model.std)
    evaluation, reference = (fit_domain(data, threat.domain) for data in (evaluation, reference))
    images, labels = evaluation.batch(range(len(evaluation)))
    module, warnings = present(model.module, images)
    classes = output_size(module, images[:2])
    warnings += check_model(module, images[:2], classes, labels)
    if evaluation.digest == reference.digest:
        warnings += (_SAME,)
    if not 0 < asked.settings.radius <= threat.epsilon and asked.settings.radius:
        raise InputError(
            f"repair: balls of radius {asked.settings.radius:g} around failures of an attack of radius "
            f"{threat.epsilon:g}; accepted: a radius up to that of the attack"
        )
    graph = graph_of(module, examples(module, images))
    task = RepairTask(
        model=model.name,
        model_digest=model.digest,
        data=evaluation.name,
        data_digest=evaluation.digest,
        reference=reference.digest,
        failures=_named(asked.attack, failures),
        threat=threat,
        settings=asked.settings,
        wanted=asked.wanted,
        max_drawdown=asked.max_drawdown,
        seed=asked.seed,
    )
    clean = Samples(*reference.batch(range(len(reference))), tuple(range(len(reference))))
    subject = Subject(module, graph, clean, threat, WorkBudget(asked.limits.budget.bytes))
    given = None if failures is None else read_failures(failures, images, classes)
    return RepairWorker(
        task,
        subject,
        Samples(images, labels, tuple(range(len(labels)))),
        given,
        asked.attack,
        Complete(asked.limits),
        Certifier(asked.limits),
        asked.out,
        warnings,
        tracker or Silent(),
    )


def read_failures(path: Path, like: torch.Tensor, classes: int) -> Samples:
    """Failures from a .npz file with arrays `inputs` (n, *shape) and `labels` (n,), and `origins` where they are known.

    Raises InputError for a file that is missing, damaged, or does not fit data and model.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"failures {path}: cannot be read ({error}); accepted: a .npz file of numpy.savez") from error
    missing = [name for name in ("inputs", "labels") if name not in arrays]
    if missing:
        raise InputError(f"failures {path}: holds {', '.join(arrays) or 'nothing'}; accepted: arrays inputs and labels")
    x, labels = torch.from_numpy(arrays["inputs"]).to(like.dtype), torch.from_numpy(arrays["labels"]).long()
    if x.shape[1:] != like.shape[1:] or labels.shape != (len(x),):
        raise InputError(
            f"failures {path}: inputs have shape {tuple(x.shape)} and labels {tuple(labels.shape)}; accepted: "
            f"(n, {', '.join(map(str, like.shape[1:]))}) and (n,)"
        )
    if not bool(x.isfinite().all()):
        raise InputError(f"failures {path}: inputs are not finite; accepted: numbers")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise InputError(
            f"failures {path}: labels run from {labels.min()} to {labels.max()}; accepted: 0 to {classes - 1}"
        )
    origins = torch.from_numpy(arrays["origins"]).to(like.dtype) if "origins" in arrays else None
    return Samples(x, labels, tuple(range(len(x))), origins)


def _named(attack: Attack, failures: Path | None) -> str:
    if failures is None:
        return f"attack:{attack.name}"
    try:
        return digest_json({"failures": failures.read_bytes().hex()})
    except OSError as error:
        raise InputError(f"failures {failures}: cannot be read ({error.strerror})") from error


_SAME = SanityWarning(
    "same-data",
    "the clean data that the repair looks at are those that it is measured on: the drawdown may be understated",
    "give other data as reference, such as the split that the model was trained on",
)
