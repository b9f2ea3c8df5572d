"""A report from the store."""

from dataclasses import replace
from typing import Any

import numpy as np

from calipers.core.errors import InputError
from calipers.core.records import Kind, RobustnessReport
from calipers.evaluate.certify import certificates
from calipers.evaluate.requirement import Requirement
from calipers.report.gallery import GalleryItem
from calipers.report.page import Report
from calipers.store.store import Store


def load_report(store: Store, run_id: str) -> Report:
    """The report of a run (an id, a unique prefix of it, or "latest") from what was kept; nothing is recomputed.

    Raises InputError if the run was never summed up.
    """
    run = store.run(run_id)
    raw = store.metric(run.run_id, "report")
    if raw is None:
        raise InputError(
            f"run {run.run_id} has no numbers yet (status: {run.status}); finish it with --resume, then ask again"
        )
    # The numbers may have been kept before the run was closed or taken up again: the store knows how it stands now.
    numbers = replace(RobustnessReport.from_dict(raw), status=run.status)
    required = tuple(Requirement(**one).check(numbers) for one in store.metric(run.run_id, "required") or [])
    kept = certificates(store, run.run_id)
    shape = _shape(store, run.run_id)
    return Report(numbers, _gallery(store, run.run_id), store.path, kept, shape, required)


def _shape(store: Store, run_id: str) -> tuple[int, ...] | None:
    """Of one sample, as it was kept with the clean predictions; None before there are any."""
    unit = min((name for name in store.units(run_id) if name.startswith(Kind.CLEAN)), default=None)
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
