"""The one loop of every kind of run: what is left is done, kept after every unit, and summed up."""

import time

from calipers.core.tasks import R, Run, Task, U, Worker
from calipers.core.tracker import Silent, Tracker
from calipers.execute import Executor, Here
from calipers.store.codec import Codec
from calipers.store.store import Store

_HERE = Here()


def begin(store: Store, task: Task, command: str, *, resume: bool) -> Run:
    """The run to work on: with `resume` the newest of the same task, if there is one, else a new one."""
    found = store.find(task) if resume else None
    return store.create_run(task, command) if found is None else found


def run(
    started: Run,
    worker: Worker[U, R],
    codec: Codec[R],
    store: Store,
    executor: Executor = _HERE,
    tracker: Tracker | None = None,
) -> Run:
    """Do what is left of a run, keep it after every unit, and keep what the worker makes of it all.

    An interruption leaves the run resumable, with a summary of what is done. Raises what the worker raises.
    """
    start = time.monotonic()
    run_id = started.run_id
    store.set_status(run_id, "running")
    status = "failed"
    try:
        _do(run_id, worker, codec, store, executor, tracker or Silent())
        status = "complete"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        store.set_status(run_id, status, time.monotonic() - start)
        if status != "failed":
            summarise(run_id, worker, codec, store)
    return store.run(run_id)


def summarise(run_id: str, worker: Worker[U, R], codec: Codec[R], store: Store) -> None:
    """Keep what the worker makes of all records so far."""
    for name, value in worker.summarise(store.records(run_id, codec), store.warnings(run_id)).items():
        store.set_metric(run_id, name, value)


def _do(run_id: str, worker: Worker[U, R], codec: Codec[R], store: Store, executor: Executor, tracker: Tracker) -> None:
    while True:
        done = store.done(run_id, codec)
        planned = worker.plan(done)
        left = [unit for unit in planned if unit.name not in done]
        if not left:
            return
        over = sum(unit.count for unit in planned if unit.name in done)
        # The closure reads `over` when a unit is begun, not as it is now.
        for unit, answer in executor.map(worker.execute, left, lambda unit: tracker.advance(unit.doing, over)):  # noqa: B023
            store.add_unit(run_id, unit.name, answer, codec)
            over += unit.count
            tracker.advance(unit.doing, over)
