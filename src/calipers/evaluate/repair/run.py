"""A repair as a run of the store."""

import shutil
from dataclasses import replace

from calipers.core.tasks import Run
from calipers.core.tracker import Tracker
from calipers.evaluate.repair.task import CODEC
from calipers.evaluate.repair.worker import RepairWorker
from calipers.evaluate.run import begin, run
from calipers.store.store import Store


def repair_in(store: Store, worker: RepairWorker, command: str, tracker: Tracker, *, resume: bool = False) -> Run:
    """Repair, and write the patch if it costs no more than it may; else the run says why there is none.

    resume: go on with the newest run of the same task, if what its parts left is still there.
    """
    workspace = worker.workspace
    started = begin(store, worker.task, command, resume=resume)
    done = {record.part for record in store.records(started.run_id, CODEC)}
    if "change" in done and not workspace.has(("change", "repaired")):
        started = begin(store, worker.task, command, resume=False)
        done = set()
    if not done:
        shutil.rmtree(workspace.folder, ignore_errors=True)
    return run(started, replace(worker, tracker=tracker), CODEC, store, tracker=tracker)
