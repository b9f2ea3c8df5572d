"""Which samples to show: those with the nearest adversarial examples."""

from typing import Any

from calipers.core.records import Kind, Outcome, SampleRecord
from calipers.evaluate.plan import Unit, plan
from calipers.store.store import Store

GALLERY_SIZE = 12


def worst_samples(store: Store, run_id: str, records: list[SampleRecord]) -> list[dict[str, Any]]:
    """References to the arrays of the nearest adversarial examples, one per sample, nearest first."""
    nearest: dict[int, SampleRecord] = {}
    for record in records:
        if record.kind is Kind.ATTACK and record.outcome is Outcome.BROKEN and record.distance:
            here = nearest.get(record.sample_id)
            if here is None or record.distance < (here.distance or 0.0):
                nearest[record.sample_id] = record
    chosen = sorted(nearest.values(), key=lambda record: (record.distance or 0.0, record.sample_id))[:GALLERY_SIZE]
    units = plan(store.run(run_id).spec)
    return [_reference(record, units) for record in chosen]


def _reference(record: SampleRecord, units: tuple[Unit, ...]) -> dict[str, Any]:
    def unit_of(kind: Kind, method: str, epsilon: float | None) -> Unit:
        return next(
            unit
            for unit in units
            if (unit.kind, unit.method, unit.epsilon) == (kind, method, epsilon)
            and unit.first <= record.sample_id < unit.first + unit.count
        )

    attack = unit_of(Kind.ATTACK, record.method, record.epsilon)
    image = unit_of(Kind.CLEAN, "clean", None)
    return {
        "sample_id": record.sample_id,
        "label": record.label,
        "prediction": record.prediction,
        "distance": record.distance,
        "epsilon": record.epsilon,
        "method": record.method,
        "unit": attack.name,
        "row": record.sample_id - attack.first,
        "image_unit": image.name,
        "image_row": record.sample_id - image.first,
    }
