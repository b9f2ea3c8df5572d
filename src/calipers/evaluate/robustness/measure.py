"""The main job: a settled measurement becomes a stored run and a report; and what is kept becomes one again."""

from calipers.core.errors import InputError
from calipers.core.tasks import Run
from calipers.core.tracker import Tracker
from calipers.evaluate.robustness.records import SampleCodec, SampleRecord
from calipers.evaluate.robustness.summary import RobustnessReport, RobustnessSummary
from calipers.evaluate.robustness.task import KIND, RobustnessTask
from calipers.evaluate.robustness.worker import RobustnessWorker, summary_of
from calipers.evaluate.run import begin, run
from calipers.execute import Executor, Here
from calipers.store.store import Store

CODEC = SampleCodec()
_HERE = Here()


def measure(
    store: Store,
    worker: RobustnessWorker,
    command: str,
    *,
    resume: bool = False,
    executor: Executor = _HERE,
    tracker: Tracker | None = None,
) -> RobustnessReport:
    """Do what is left of a measurement, keep it after every unit, and return the report, which is stored too.

    resume: go on with the newest run of the same task. An interruption leaves the run resumable, with a report of what
    is done. Raises SoundnessError if its records contradict each other.
    """
    started = begin(store, worker.task, command, resume=resume)
    return report_of(store, run(started, worker, CODEC, store, executor, tracker).run_id)


def records_of(store: Store, run_id: str) -> list[SampleRecord]:
    """All records of a run, by sample, question, method and radius."""
    return store.records(run_id, CODEC)


def run_of(store: Store, run_id: str) -> Run:
    """A run of robustness by id, unique prefix or "latest". Raises InputError for one of another kind."""
    found = store.run(run_id)
    if found.kind != KIND:
        raise InputError(f"run {found.run_id}: is of kind {found.kind}; accepted: a run of {KIND}")
    return found


def report_of(store: Store, run_id: str) -> RobustnessReport:
    """The numbers of a run as they were kept last. Raises InputError if it was never summed up."""
    found = run_of(store, run_id)
    raw = store.metric(found.run_id, "report")
    if raw is None:
        raise InputError(
            f"run {found.run_id} has no numbers yet (status: {found.status}); finish it with --resume, then ask again"
        )
    return RobustnessReport.of(found, RobustnessSummary.from_dict(raw))


def refresh(store: Store, run_id: str) -> RobustnessReport:
    """Sum a run's records up again, whatever its state, and keep the result."""
    found = run_of(store, run_id)
    records, warnings = records_of(store, found.run_id), store.warnings(found.run_id)
    for name, value in summary_of(RobustnessTask.from_dict(found.task), records, warnings).items():
        store.set_metric(found.run_id, name, value)
    return report_of(store, found.run_id)
