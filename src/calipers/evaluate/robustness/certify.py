"""Certificates for what a run has verified: one file per sample and radius, beside the run's page."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from calipers.check import Certificate, DamagedCertificateError
from calipers.core.files import write_whole
from calipers.core.tasks import Done
from calipers.core.warnings import SanityWarning
from calipers.evaluate.progress import track
from calipers.evaluate.robustness.answers import blank_record
from calipers.evaluate.robustness.measure import CODEC, records_of, refresh
from calipers.evaluate.robustness.records import Outcome, Question, SampleRecord
from calipers.evaluate.robustness.worker import RobustnessWorker
from calipers.store.store import Store
from calipers.verify import Certifier

_WHY = "time was up, or a margin is too small for the checker"


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
    """Write a certificate for all that a run has verified, and count as certified what has one alone.

    Those that are there already and whole are kept; what has none becomes a warning too.
    """
    pairs = verified(store, run_id)
    if not pairs:
        return
    folder = _folder(store, run_id)
    with track(len(pairs)) as tracker:
        for done, (sample, epsilon) in enumerate(pairs):
            tracker.advance(f"certificate at {epsilon:g}", done)
            _certify(store, run_id, worker, certifier, folder, sample, epsilon)
        tracker.advance("certificates", len(pairs))
    without = [r for r in _certified(store, run_id) if r.outcome is not Outcome.VERIFIED]
    store.set_warnings(run_id, "certificates", _missing(without, len(pairs)))
    refresh(store, run_id)


def verified(store: Store, run_id: str) -> list[tuple[int, float]]:
    """Samples and radii that some verifier of a run has verified."""
    found = {
        (record.sample_id, record.epsilon)
        for record in records_of(store, run_id)
        if record.question is Question.VERIFY and record.outcome is Outcome.VERIFIED and record.epsilon is not None
    }
    return sorted(found, key=lambda pair: (pair[1], pair[0]))


def _certify(
    store: Store,
    run_id: str,
    worker: RobustnessWorker,
    certifier: Certifier,
    folder: Path,
    sample: int,
    epsilon: float,
) -> None:
    """One certificate, and a record of whether the checker accepts its evidence; neither where both are there."""
    task, subject = worker.task, worker.subject
    unit, path = f"certify-eps{epsilon!r}-{sample:06d}", folder / f"sample{sample:06d}-eps{epsilon!r}.npz"
    known = {record.sample_id: record for record in _certified(store, run_id) if record.epsilon == epsilon}.get(sample)
    if known is not None and (known.outcome is not Outcome.VERIFIED or _whole(path)):
        return
    assert subject.graph is not None
    about = {"model": task.model_digest, "data": task.data_digest, "sample": sample, "unit": task.unit}
    start = time.perf_counter()
    problem = subject.problem(task, torch.tensor([sample]), epsilon)
    certificate = certifier.certify(subject.graph, problem, about)
    if certificate is not None:
        write_whole(path, certificate.packed())
    blank = blank_record(sample, int(subject.labels[sample]), Question.CERTIFY, "certificate", epsilon, task.seed)
    record = replace(
        blank,
        outcome=Outcome.UNKNOWN if certificate is None else Outcome.VERIFIED,
        seconds=time.perf_counter() - start,
        message=_WHY if certificate is None else "",
    )
    store.add_unit(run_id, unit, Done([record]), CODEC)


def _certified(store: Store, run_id: str) -> list[SampleRecord]:
    return [record for record in records_of(store, run_id) if record.question is Question.CERTIFY]


def _missing(without: list[SampleRecord], of: int) -> list[SanityWarning]:
    if not without:
        return []
    message = f"{len(without)} of {of} verified samples have no certificate ({_WHY}): they do not count as certified"
    places = ", ".join(f"sample {record.sample_id} at {record.epsilon:g}" for record in without)
    return [SanityWarning("no-certificate", message, places)]


def _whole(path: Path) -> bool:
    """Whether a certificate is there that can be read: one that was torn is written again."""
    try:
        Certificate.load(path)
    except DamagedCertificateError:
        return False
    return True
