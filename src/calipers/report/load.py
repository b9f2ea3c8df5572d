"""A report from the store."""

from typing import Any

import numpy as np

from calipers.evaluate.robustness.certify import certificates
from calipers.evaluate.robustness.measure import report_of
from calipers.evaluate.robustness.records import Question
from calipers.evaluate.robustness.requirement import Requirement
from calipers.report.gallery import GalleryItem
from calipers.report.page import Report
from calipers.store.store import Store


def load_report(store: Store, run_id: str) -> Report:
    """The report of a run (an id, a unique prefix of it, or "latest") from what was kept; nothing is recomputed.

    Raises InputError if the run was never summed up.
    """
    numbers = report_of(store, run_id)
    required = tuple(Requirement(**one).check(numbers) for one in store.metric(numbers.run_id, "required") or [])
    kept = certificates(store, numbers.run_id)
    shape = _shape(store, numbers.run_id)
    return Report(numbers, _gallery(store, numbers.run_id), store.path, kept, shape, required)


def _shape(store: Store, run_id: str) -> tuple[int, ...] | None:
    """Of one sample, as it was kept with the clean predictions; None before there are any."""
    unit = min((name for name in store.units(run_id) if name.startswith(Question.CLEAN)), default=None)
    return None if unit is None else store.arrays(run_id, unit)["image"].shape[1:]


def _gallery(store: Store, run_id: str) -> tuple[GalleryItem, ...]:
    entries: list[dict[str, Any]] = store.metric(run_id, "gallery") or []
    units = {entry[key] for entry in entries for key in ("unit", "image_unit")}
    arrays: dict[str, dict[str, np.ndarray]] = {unit: store.arrays(run_id, unit) for unit in sorted(units)}
    return tuple(
        GalleryItem(
            **{key: entry[key] for key in ("sample_id", "label", "prediction", "distance", "epsilon", "method")},
            original=arrays[entry["image_unit"]]["image"][entry["image_row"]],
            adversarial=arrays[entry["unit"]]["adversarial"][entry["row"]],
        )
        for entry in entries
    )
