"""Which samples to show: those with the nearest adversarial examples."""

from collections.abc import Sequence
from typing import Any

from calipers.evaluate.robustness.plan import MethodUnit, clean_units, method_units
from calipers.evaluate.robustness.records import Outcome, Question, SampleRecord
from calipers.evaluate.robustness.task import RobustnessTask

GALLERY_SIZE = 12


def worst_samples(task: RobustnessTask, records: Sequence[SampleRecord]) -> list[dict[str, Any]]:
    """References to the arrays of the nearest adversarial examples, one per sample, nearest first."""
    nearest: dict[int, SampleRecord] = {}
    for record in records:
        if record.question is Question.ATTACK and record.outcome is Outcome.BROKEN and record.distance:
            here = nearest.get(record.sample_id)
            if here is None or record.distance < (here.distance or 0.0):
                nearest[record.sample_id] = record
    chosen = sorted(nearest.values(), key=lambda record: (record.distance or 0.0, record.sample_id))[:GALLERY_SIZE]
    units = (*clean_units(task), *method_units(task))
    return [_reference(record, units) for record in chosen]


def _reference(record: SampleRecord, units: tuple[MethodUnit, ...]) -> dict[str, Any]:
    def unit_of(kind: Question, method: str, epsilon: float | None) -> MethodUnit:
        return next(
            unit
            for unit in units
            if (unit.question, unit.method, unit.epsilon) == (kind, method, epsilon)
            and unit.first <= record.sample_id < unit.first + unit.count
        )

    attack = unit_of(Question.ATTACK, record.method, record.epsilon)
    image = unit_of(Question.CLEAN, "clean", None)
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
