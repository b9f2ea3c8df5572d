"""The worker of robustness: what is done in which unit, and what it all comes to."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from calipers.core.tasks import Done
from calipers.core.warnings import SanityWarning
from calipers.evaluate.robustness.gallery import worst_samples
from calipers.evaluate.robustness.metrics import summarise
from calipers.evaluate.robustness.plan import (
    CheckUnit,
    MethodUnit,
    ReviewUnit,
    RobustnessUnit,
    clean_units,
    method_units,
    plan,
)
from calipers.evaluate.robustness.records import Question, SampleRecord
from calipers.evaluate.robustness.requirement import Requirement
from calipers.evaluate.robustness.sanity import inspect, unbounded
from calipers.evaluate.robustness.subject import Subject
from calipers.evaluate.robustness.task import RobustnessTask
from calipers.evaluate.robustness.work import measured
from calipers.evaluate.threads import multiplications_of, threads_for
from calipers.verify import Limitable, Verifier


@dataclass(frozen=True, eq=False)
class RobustnessWorker:
    """Does the units of one measurement.

    warnings: of what was prepared. required: levels that were asked for. multiplications: of one image's way through
    the network, which decide how many threads a unit is worth.
    """

    task: RobustnessTask
    subject: Subject
    warnings: tuple[SanityWarning, ...]
    required: tuple[Requirement, ...] = ()

    @cached_property
    def multiplications(self) -> float:
        """Of one image's way through the network."""
        return multiplications_of(self.subject.model, self.subject.images[:1])

    @property
    def steps(self) -> int:
        """Samples to go through, over all units."""
        return sum(unit.count for unit in (*clean_units(self.task), *method_units(self.task)))

    def shared(self, workers: int) -> "RobustnessWorker":
        """The same worker for one of several processes: verifiers take their part of the memory."""
        if workers == 1:
            return self
        verifiers = {name: _shared(verifier, workers) for name, verifier in self.subject.verifiers.items()}
        return replace(self, subject=replace(self.subject, verifiers=verifiers))

    def plan(self, done: Mapping[str, Sequence[SampleRecord]]) -> Sequence[RobustnessUnit]:
        """See `Worker`."""
        return plan(self.task, done)

    def execute(self, unit: RobustnessUnit) -> Done[SampleRecord]:
        """See `Worker`."""
        with threads_for(self._work(unit)):
            match unit:
                case CheckUnit():
                    return Done(warnings=(*self.warnings, *inspect(self.subject, self.task)))
                case ReviewUnit():
                    return Done(warnings=tuple(unbounded(self.subject, self.task, set(unit.proven))))
                case MethodUnit():
                    return measured(unit, self.task, self.subject)

    def summarise(self, records: Sequence[SampleRecord], warnings: Sequence[SanityWarning]) -> Mapping[str, Any]:
        """See `Worker`."""
        required = [asdict(one) for one in self.required]
        return {**summary_of(self.task, records, warnings), "required": required}

    def _work(self, unit: RobustnessUnit) -> float:
        """Multiplications of one call in a unit.

        Attacks and predictions pass images through the network; verifiers pass a functional for every value of a layer.
        """
        if not isinstance(unit, MethodUnit):
            return self.multiplications * min(self.task.samples, self.task.batch_size)
        if unit.question is not Question.VERIFY or self.subject.graph is None:
            return self.multiplications * unit.count
        widest = max(math.prod(node.shape) for node in self.subject.graph.nodes)
        return self.multiplications * unit.count * widest


def _shared(verifier: Verifier, workers: int) -> Verifier:
    if not isinstance(verifier, Limitable):
        return verifier
    limits = verifier.limits
    budget = replace(limits.budget, bytes=max(1, limits.budget.bytes // workers))
    return verifier.limited(replace(limits, budget=budget))


def summary_of(
    task: RobustnessTask, records: Sequence[SampleRecord], warnings: Sequence[SanityWarning]
) -> dict[str, Any]:
    """What is kept of the records beside them: the numbers, and which samples to show."""
    return {
        "report": summarise(task, records, warnings).to_dict(),
        "gallery": worst_samples(task, records),
    }
