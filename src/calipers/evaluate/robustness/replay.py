"""Stored adversarial examples, evaluated and measured again on the model itself."""

import torch

from calipers.core.errors import StoreError
from calipers.evaluate.robustness.measure import records_of, run_of
from calipers.evaluate.robustness.plan import method_units
from calipers.evaluate.robustness.records import Outcome, Question
from calipers.evaluate.robustness.subject import Subject
from calipers.evaluate.robustness.task import RobustnessTask
from calipers.store.store import Store

# Distances are recomputed from what was stored, in another order of summation.
_TOLERANCE = 1e-5


def replay(store: Store, run_id: str, subject: Subject) -> int:
    """Check every example that the minimum-norm attacks of a run have stored; returns how many there are.

    Raises StoreError, naming the sample and the two numbers, if one is not misclassified or not as near as recorded.
    """
    task = RobustnessTask.from_dict(run_of(store, run_id).task)
    records = {
        (r.method, r.sample_id): r
        for r in records_of(store, run_id)
        if r.question is Question.ATTACK and r.epsilon is None
    }
    count = 0
    for unit in method_units(task):
        if unit.question is not Question.ATTACK or unit.epsilon is not None:
            continue
        stored = torch.from_numpy(store.arrays(run_id, unit.name)["adversarial"].copy()).to(subject.images)
        ids = torch.arange(unit.first, unit.first + unit.count)
        problem = subject.nearest_problem(task, ids)
        with torch.no_grad():
            margins = problem.specification.margins(subject.model(stored)).amin(1)
            # It broke in another batch and alone. Alone it does so again; here its margin may be within rounding.
            for i in (margins > 0).nonzero()[:, 0].tolist():
                alone = problem.specification[i : i + 1].margins(subject.model(stored[i : i + 1]))
                margins[i] = torch.minimum(margins[i], alone.min())
        distances, admitted = problem.measure(stored), problem.admits(stored)
        for i, sample in enumerate(ids.tolist()):
            record = records[unit.method, sample]
            if record.outcome is not Outcome.BROKEN:
                continue
            count += 1
            recorded = record.distance or 0.0
            near = abs(float(distances[i]) - recorded) <= _TOLERANCE * max(1.0, recorded)
            if not (near and bool(admitted[i]) and float(margins[i]) <= 0):
                raise StoreError(
                    f"run {run_id}: the example that {unit.method} stored for sample {sample} has distance "
                    f"{float(distances[i]):g} and margin {float(margins[i]):g}; recorded: {recorded:g} and "
                    f"{record.margin}. The model or the stored arrays changed since"
                )
    return count
