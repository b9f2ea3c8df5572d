"""Does a comparison: a run of robustness for every model, with its own records, page and warnings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from calipers.core.tasks import Done, Run
from calipers.core.tracker import Part, Silent, Tracker
from calipers.core.warnings import SanityWarning
from calipers.evaluate.comparison.task import CODEC, ComparisonTask, Contender, Measured, ModelUnit
from calipers.evaluate.robustness.measure import measure
from calipers.evaluate.robustness.worker import RobustnessWorker
from calipers.evaluate.run import begin, run
from calipers.execute import Executor
from calipers.store.store import Store


@dataclass(frozen=True, eq=False)
class ComparisonWorker:
    """measured: runs the measurement of a model and says the id of its run. tracker: told of every sample."""

    task: ComparisonTask
    workers: tuple[RobustnessWorker, ...]
    measured: Callable[[RobustnessWorker, Tracker], str]
    tracker: Tracker = field(default_factory=Silent)

    @property
    def steps(self) -> int:
        return sum(worker.steps for worker in self.workers)

    def plan(self, done: Mapping[str, Sequence[Measured]]) -> Sequence[ModelUnit]:
        """See `Worker`."""
        pairs = zip(self.task.contenders, self.workers, strict=True)
        return [ModelUnit(number, one.name, worker.steps) for number, (one, worker) in enumerate(pairs)]

    def execute(self, unit: ModelUnit) -> Done[Measured]:
        """See `Worker`."""
        before = sum(worker.steps for worker in self.workers[: unit.number])
        part = Part(self.tracker, before, unit.label)
        return Done([Measured(unit.number, self.measured(self.workers[unit.number], part))])

    def summarise(self, records: Sequence[Measured], warnings: Sequence[SanityWarning]) -> Mapping[str, Any]:
        """See `Worker`."""
        return {}


def compare(
    store: Store,
    contenders: Sequence[tuple[str, str, RobustnessWorker]],
    command: str,
    *,
    resume: bool,
    executor: Executor,
    tracker: Tracker,
) -> Run:
    """Measure models one after the other and keep which run belongs to which.

    contenders: name, how it was trained, and the worker of its measurement. resume: a model that was measured in the
    same way already, in whatever run, is not measured again; one that was begun is gone on with.
    """
    workers = tuple(worker for *_, worker in contenders)
    task = ComparisonTask(tuple(Contender(name, made, worker.task) for name, made, worker in contenders))

    def measured(worker: RobustnessWorker, part: Tracker) -> str:
        return measure(store, worker, command, resume=resume, executor=executor, tracker=part).run_id

    started = begin(store, task, command, resume=resume)
    return run(started, ComparisonWorker(task, workers, measured, tracker), CODEC, store)
