"""Certificates for what a run has verified: one file per sample and radius, beside the run's page."""

from dataclasses import dataclass
from pathlib import Path

import torch

from calipers.core.tracker import Tracker
from calipers.core.warnings import SanityWarning
from calipers.evaluate.progress import track
from calipers.evaluate.robustness.measure import records_of, refresh
from calipers.evaluate.robustness.records import Outcome, Question
from calipers.evaluate.robustness.worker import RobustnessWorker
from calipers.store.store import Store
from calipers.verify import Certifier


@dataclass(frozen=True)
class Certificates:
    """How many of the samples and radii that a run has verified have a certificate in a folder."""

    folder: Path
    written: int
    verified: int


def certificates(store: Store, run_id: str) -> Certificates | None:
    """Those of a run; None where none were asked for."""
    folder = _folder(store, run_id)
    if not folder.is_dir():
        return None
    return Certificates(folder, len(list(folder.glob("*.npz"))), len(verified(store, run_id)))


def _folder(store: Store, run_id: str) -> Path:
    return store.root / "certificates" / run_id


def certify_run(store: Store, run_id: str, worker: RobustnessWorker, certifier: Certifier) -> None:
    """Write certificates for all that a run has verified; what has none becomes a warning of its report."""
    pairs = verified(store, run_id)
    if pairs:
        with track(len(pairs)) as tracker:
            warnings = certify(pairs, worker, certifier, _folder(store, run_id), tracker)
        store.set_warnings(run_id, "certificates", warnings)
        refresh(store, run_id)


def verified(store: Store, run_id: str) -> list[tuple[int, float]]:
    """Samples and radii that some verifier of a run has verified."""
    found = {
        (record.sample_id, record.epsilon)
        for record in records_of(store, run_id)
        if record.question is Question.VERIFY and record.outcome is Outcome.VERIFIED and record.epsilon is not None
    }
    return sorted(found, key=lambda pair: (pair[1], pair[0]))


def certify(
    pairs: list[tuple[int, float]], worker: RobustnessWorker, certifier: Certifier, folder: Path, tracker: Tracker
) -> list[SanityWarning]:
    """Write the certificates that are missing in `folder`; returns a warning if some could not be made."""
    subject, task = worker.subject, worker.task
    folder.mkdir(parents=True, exist_ok=True)
    without = []
    for done, (sample, epsilon) in enumerate(pairs):
        tracker.advance(f"certificate at {epsilon:g}", done)
        path = folder / f"sample{sample:06d}-eps{epsilon!r}.npz"
        if path.exists():
            continue
        assert subject.graph is not None
        about = {"model": task.model_digest, "data": task.data_digest, "sample": sample, "unit": task.unit}
        problem = subject.problem(task, torch.tensor([sample]), epsilon)
        certificate = certifier.certify(subject.graph, problem, about)
        if certificate is None:
            without.append(f"sample {sample} at {epsilon:g}")
        else:
            certificate.save(path)
    tracker.advance("certificates", len(pairs))
    if not without:
        return []
    why = "time was up, or a margin is too small for the checker"
    message = f"{len(without)} of {len(pairs)} verified samples have no certificate: {why}"
    return [SanityWarning("no-certificate", message, ", ".join(without))]
