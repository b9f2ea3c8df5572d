"""A family of VNN-LIB instances as a run: every answer is kept as soon as it is there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calipers.core.devices import device_of, told
from calipers.core.digests import digest_json
from calipers.core.tasks import Done
from calipers.core.warnings import SanityWarning
from calipers.store.codec import PlainCodec
from calipers.store.store import Store
from calipers.verify import Limits
from calipers.verify.vnnlib import Answer, Instance, SatOutcome, Score, Unsafe, score

KIND = "vnnlib"


@dataclass(frozen=True)
class FamilyTask:
    """The instances of a file. timeout: seconds at most, whatever the file says. output: which one of each network.

    device: where bounds and attacks are computed.
    """

    file: str
    instances: tuple[Instance, ...]
    timeout: float
    output: str | None = None
    device: str = "cpu"

    @property
    def kind(self) -> str:
        return KIND

    @property
    def title(self) -> str:
        return f"{len(self.instances)} instances of {self.file}"

    @property
    def digest(self) -> str:
        return digest_json(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        places = [
            {"onnx": str(one.onnx), "vnnlib": str(one.vnnlib), "timeout": one.timeout, "expected": one.expected}
            for one in self.instances
        ]
        return {
            "file": self.file,
            "instances": places,
            "timeout": self.timeout,
            "output": self.output,
            **told(self.device),
        }


@dataclass(frozen=True)
class InstanceUnit:
    """One instance."""

    number: int
    instance: Instance

    @property
    def name(self) -> str:
        return f"instance-{self.number:05d}"

    @property
    def doing(self) -> str:
        return self.instance.name

    @property
    def count(self) -> int:
        return 1


@dataclass(frozen=True)
class InstanceRecord:
    """What became of an instance: `Score` as plain data, without the counterexample, which is an array.

    outcome: sat, unsat, timeout, unknown or error.
    """

    number: int
    onnx: str
    vnnlib: str
    timeout: float
    expected: str | None
    outcome: str
    seconds: float | None
    reason: str
    error: str
    note: str


CODEC = PlainCodec(InstanceRecord, "number")


@dataclass(frozen=True)
class FamilyWorker:
    """Decides the instances of a task."""

    task: FamilyTask
    limits: Limits

    @property
    def steps(self) -> int:
        return len(self.task.instances)

    def plan(self, done: Mapping[str, Sequence[InstanceRecord]]) -> Sequence[InstanceUnit]:
        """See `Worker`."""
        return [InstanceUnit(number, one) for number, one in enumerate(self.task.instances, start=1)]

    def execute(self, unit: InstanceUnit) -> Done[InstanceRecord]:
        """See `Worker`."""
        timeout = min(self.task.timeout, unit.instance.timeout)
        found = score(unit.instance, Limits(self.limits.budget, timeout), self.task.output, device_of(self.task.device))
        unsafe = None if found.answer is None else found.answer.unsafe
        arrays = None if unsafe is None else {"input": unsafe.x[None], "output": unsafe.y[None]}
        return Done([_record(unit.number, found)], arrays)

    def summarise(self, records: Sequence[InstanceRecord], warnings: Sequence[SanityWarning]) -> Mapping[str, Any]:
        """See `Worker`."""
        words = [record.outcome for record in records]
        return {"outcomes": {word: words.count(word) for word in dict.fromkeys(words)}}


def scores_of(store: Store, run_id: str) -> list[Score]:
    """The scores of a run, in the order of the instances, with counterexamples."""
    return [_score(store, run_id, record) for record in store.records(run_id, CODEC)]


def _record(number: int, found: Score) -> InstanceRecord:
    one, answer = found.instance, found.answer
    return InstanceRecord(
        number=number,
        onnx=str(one.onnx),
        vnnlib=str(one.vnnlib),
        timeout=one.timeout,
        expected=None if one.expected is None else one.expected.value,
        outcome=found.word,
        seconds=None if answer is None else answer.seconds,
        reason="" if answer is None else answer.reason,
        error=found.error,
        note=found.note,
    )


def _score(store: Store, run_id: str, record: InstanceRecord) -> Score:
    expected = None if record.expected is None else SatOutcome(record.expected)
    instance = Instance(Path(record.onnx), Path(record.vnnlib), record.timeout, expected)
    if record.seconds is None:
        return Score(instance, None, record.error, record.note)
    unsafe = None
    if record.outcome == SatOutcome.SAT:
        arrays = store.arrays(run_id, InstanceUnit(record.number, instance).name)
        unsafe = Unsafe(arrays["input"][0].astype(np.float32), arrays["output"][0].astype(np.float32))
    answer = Answer(SatOutcome(record.outcome), record.seconds, unsafe, record.reason)
    return Score(instance, answer, record.error, record.note)
