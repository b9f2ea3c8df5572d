"""The main job: a settled measurement becomes a stored run and a report."""

import time
from dataclasses import asdict

from calipers.core.records import RobustnessReport, SanityWarning
from calipers.evaluate.doubts import proven_at
from calipers.evaluate.gallery import worst_samples
from calipers.evaluate.metrics import summarise
from calipers.evaluate.plan import plan
from calipers.evaluate.prepare import Measurement
from calipers.evaluate.progress import Silent, Tracker
from calipers.evaluate.sanity import inspect, unbounded
from calipers.evaluate.threads import multiplications_of, threads_for, work_of
from calipers.evaluate.work import do
from calipers.store.store import Store, StoredRun


def find_or_create(store: Store, measurement: Measurement, command: str, resume: bool) -> StoredRun:
    """The run to work on: with `resume` the newest with the same specification, if there is one, else a new one."""
    found = store.find(measurement.spec) if resume else None
    return store.run(store.create_run(measurement.spec, command)) if found is None else found


def execute(store: Store, run: StoredRun, measurement: Measurement, tracker: Tracker | None = None) -> RobustnessReport:
    """Do what is left of a run, keep it after every unit, and return the report, which is stored too.

    An interruption leaves the run resumable, with a report of what is done.
    """
    tracker = tracker or Silent()
    start = time.monotonic()
    store.set_status(run.run_id, "running")
    status = "failed"
    try:
        size = multiplications_of(measurement.subject.model, measurement.subject.images[:1])
        units, finished = plan(measurement.spec), store.units(run.run_id)
        done = sum(unit.count for unit in units if unit.name in finished)
        if store.metric(run.run_id, "checks") is None:
            tracker.advance("checks of the evaluation", done)
            with threads_for(size * min(measurement.spec.samples, measurement.spec.batch_size)):
                checks = [*measurement.warnings, *inspect(measurement.subject, measurement.spec)]
            store.set_metric(run.run_id, "checks", [asdict(check) for check in checks])
        for unit in units:
            if unit.name in finished:
                continue
            radius = "" if unit.epsilon is None else f" at {unit.epsilon:g}"
            tracker.advance(f"{unit.method}{radius}", done)
            with threads_for(work_of(unit, measurement.subject, size)):
                answers = do(unit, measurement.spec, measurement.subject)
            store.add_unit(run.run_id, unit.name, *answers)
            done += unit.count
            tracker.advance(f"{unit.method}{radius}", done)
        if store.metric(run.run_id, "reviewed") is None:
            proven = proven_at(max(measurement.spec.epsilons, default=0.0), store.records(run.run_id))
            with threads_for(size * min(measurement.spec.samples, measurement.spec.batch_size)):
                add_warnings(store, run.run_id, unbounded(measurement.subject, measurement.spec, proven))
            store.set_metric(run.run_id, "reviewed", True)
        status = "complete"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        store.set_status(run.run_id, status, time.monotonic() - start)
    return refresh(store, run.run_id)


def add_warnings(store: Store, run_id: str, warnings: list[SanityWarning]) -> None:
    """Put what was noticed after a run into its report, in place of earlier warnings with the same code."""
    if warnings:
        codes = {warning.code for warning in warnings}
        kept = [check for check in store.metric(run_id, "checks") or [] if check["code"] not in codes]
        store.set_metric(run_id, "checks", [*kept, *(asdict(warning) for warning in warnings)])
        refresh(store, run_id)


def refresh(store: Store, run_id: str) -> RobustnessReport:
    """Recompute a run's report from its records, whatever its state, and store it."""
    records = store.records(run_id)
    checks = [SanityWarning(**check) for check in store.metric(run_id, "checks") or []]
    report = summarise(store.run(run_id), records, checks)
    store.set_metric(run_id, "report", report.to_dict())
    store.set_metric(run_id, "gallery", worst_samples(store, run_id, records))
    return report
