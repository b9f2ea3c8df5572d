"""What a run has to do, as units of work that are done or not done."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from calipers.evaluate.robustness.records import Outcome, Question, SampleRecord
from calipers.evaluate.robustness.task import RobustnessTask


@dataclass(frozen=True)
class Clean:
    """The model's answer about a sample as it is. margin: smallest specification row."""

    prediction: int
    margin: float


@dataclass(frozen=True)
class MethodUnit:
    """One method on one batch of consecutive samples at one epsilon.

    None is the epsilon of clean predictions and of minimum-norm attacks. clean: of every sample of the batch; none
    for clean predictions themselves.
    """

    question: Question
    method: str
    epsilon: float | None
    first: int
    count: int
    clean: tuple[Clean, ...] = ()

    @property
    def name(self) -> str:
        """Unique in its run and usable as a file name."""
        method = re.sub(r"[^A-Za-z0-9.]+", "_", self.method)
        radius = "" if self.epsilon is None else f"-eps{self.epsilon!r}"
        return f"{self.question}-{method}{radius}-{self.first:06d}"

    @property
    def doing(self) -> str:
        return self.method if self.epsilon is None else f"{self.method} at {self.epsilon:g}"

    @property
    def samples(self) -> slice:
        return slice(self.first, self.first + self.count)


@dataclass(frozen=True)
class CheckUnit:
    """Checks of the evaluation itself, before the work."""

    name: str = "checks"
    doing: str = "checks of the evaluation"
    count: int = 0


@dataclass(frozen=True)
class ReviewUnit:
    """Checks of the evaluation after the work. proven: the samples that are verified at every radius."""

    proven: tuple[int, ...]
    name: str = "review"
    doing: str = "checks of the answers"
    count: int = 0


RobustnessUnit = MethodUnit | CheckUnit | ReviewUnit


def clean_units(task: RobustnessTask) -> tuple[MethodUnit, ...]:
    """Clean predictions, batch by batch."""
    return tuple(MethodUnit(Question.CLEAN, "clean", None, *batch) for batch in _batches(task))


def method_units(task: RobustnessTask) -> tuple[MethodUnit, ...]:
    """Minimum-norm attacks, then attacks and verifiers radius by radius; without what is known of clean samples."""
    return tuple(
        MethodUnit(question, name, epsilon, *batch)
        for question, name, epsilon in _methods(task)
        for batch in _batches(task)
    )


def plan(task: RobustnessTask, done: Mapping[str, Sequence[SampleRecord]] | None = None) -> tuple[RobustnessUnit, ...]:
    """The units that can be done: checks and clean predictions, methods where these are known, in the end the review.

    done: records of the finished units.
    """
    finished = done or {}
    known = {unit.first: _clean(finished[unit.name]) for unit in clean_units(task) if unit.name in finished}
    methods = [
        MethodUnit(unit.question, unit.method, unit.epsilon, unit.first, unit.count, known[unit.first])
        for unit in method_units(task)
        if unit.first in known
    ]
    units: list[RobustnessUnit] = [CheckUnit(), *clean_units(task), *methods]
    if all(unit.name in finished for unit in (*clean_units(task), *method_units(task))):
        proven = proven_at(max(task.epsilons, default=0.0), [r for records in finished.values() for r in records])
        units.append(ReviewUnit(tuple(sorted(proven))))
    return tuple(units)


def proven_at(epsilon: float, records: Sequence[SampleRecord]) -> set[int]:
    """The samples that some verifier of a run has proven at this radius or a larger one; none at 0."""
    return {
        record.sample_id
        for record in records
        if record.outcome is Outcome.VERIFIED and (record.epsilon or 0.0) >= epsilon > 0
    }


def _methods(task: RobustnessTask) -> Iterator[tuple[Question, str, float | None]]:
    yield from ((Question.ATTACK, method.name, None) for method in task.attacks if method.minimum_norm)
    for question, methods in ((Question.ATTACK, task.attacks), (Question.VERIFY, task.verifiers)):
        for epsilon in task.epsilons:
            yield from ((question, method.name, epsilon) for method in methods if not method.minimum_norm)


def _batches(task: RobustnessTask) -> Iterator[tuple[int, int]]:
    """First sample and number of samples of every batch."""
    for first in range(0, task.samples, task.batch_size):
        yield first, min(task.batch_size, task.samples - first)


def _clean(records: Sequence[SampleRecord]) -> tuple[Clean, ...]:
    """Of a batch, by the number of the sample."""
    found = []
    for record in sorted(records, key=lambda record: record.sample_id):
        assert record.prediction is not None
        assert record.margin is not None
        found.append(Clean(record.prediction, record.margin))
    return tuple(found)
