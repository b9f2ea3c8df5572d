"""The invariant across rooms: no sample is both proven robust and broken inside the proven ball."""

from collections.abc import Iterable

from calipers.core.errors import SoundnessError
from calipers.evaluate.robustness.records import Outcome, SampleRecord


def _refuted(record: SampleRecord) -> bool:
    """Whether a verifier found a counterexample (and not only a sample that is wrong as it is)."""
    return record.outcome is Outcome.FALSIFIED and record.distance is not None


def check_soundness(records: Iterable[SampleRecord]) -> None:
    """Raise SoundnessError, naming both records, if a proven ball contains an adversarial example."""
    proofs: dict[int, SampleRecord] = {}
    attacks: dict[int, SampleRecord] = {}
    for record in records:
        here = record.sample_id
        if record.outcome is Outcome.VERIFIED:
            proofs[here] = max(proofs.get(here, record), record, key=lambda r: r.epsilon or 0.0)
        elif record.outcome is Outcome.BROKEN or _refuted(record):
            attacks[here] = min(attacks.get(here, record), record, key=lambda r: r.distance or 0.0)
    for sample in proofs.keys() & attacks.keys():
        proof, attack = proofs[sample], attacks[sample]
        radius, distance = proof.epsilon or 0.0, attack.distance or 0.0
        if distance <= radius or (attack.epsilon is not None and attack.epsilon <= radius):
            raise SoundnessError(
                f"sample {sample}: {proof.method} proved epsilon {radius:g} (lower bound {proof.margin}), but "
                f"{attack.method} at epsilon {attack.epsilon} found an adversarial example at distance {distance:g} "
                f"(margin {attack.margin}). One of them is wrong; please report it with the run's store"
            )
