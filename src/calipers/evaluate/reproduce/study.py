"""Experiments of any kind: what is measured comes as rows and lines, part by part, and is kept in the store."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean, stdev
from typing import Any, Protocol, runtime_checkable

import numpy as np

from calipers.core.digests import digest_json
from calipers.core.tables import Row
from calipers.core.tasks import Done
from calipers.core.tracker import Tracker
from calipers.core.warnings import SanityWarning
from calipers.evaluate.reproduce.network import Published, Trained
from calipers.evaluate.reproduce.relative_experiment import Bench
from calipers.evaluate.run import begin, run
from calipers.models.loading import LoadedModel
from calipers.store.codec import PlainCodec

KIND = "study"


@dataclass(frozen=True)
class Point:
    """A point of a figure. panel, line: where it belongs. number: its place on the line, equal for all seeds.

    low, high: its 95 % interval, if it has one.
    """

    panel: str
    line: str
    number: int
    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, eq=False)
class Measured:
    """What one part of a study came to. arrays: by name, for pictures, equally long along the first dimension."""

    rows: Sequence[Row]
    points: Sequence[Point] = ()
    arrays: Mapping[str, np.ndarray] | None = None


@dataclass(frozen=True)
class PartRecord:
    """What one part of a study came to: rows and points as JSON. place: its number."""

    place: int
    rows: list[dict[str, Any]]
    points: list[dict[str, Any]] = field(default_factory=list)


CODEC = PlainCodec(PartRecord, "place")


@runtime_checkable
class Laid(Protocol):
    """A study with its network and data at hand."""

    def part(self, number: int) -> Measured:
        """Do one part."""


@runtime_checkable
class Study(Protocol):
    """What a reproduction asks about one network. Studies with one label are repeats with other seeds."""

    @property
    def label(self) -> str: ...

    @property
    def network(self) -> Published | Trained: ...

    @property
    def parts(self) -> Sequence[str]:
        """Their names: each is done or not done."""

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the rows, JSON-ready; `study` is what kind of study it is, in a word."""

    def laid(self, model: LoadedModel, bench: Bench) -> Laid:
        """Get everything that parts have in common."""


@dataclass(frozen=True)
class StudyTask:
    """A study of one network. settings: what is asked; they and the network decide the rows."""

    label: str
    model_digest: str
    settings: dict[str, Any]
    seed: int

    @property
    def kind(self) -> str:
        return KIND

    @property
    def title(self) -> str:
        return f"{self.settings['study']}: {self.label}, seed {self.seed}"

    @property
    def digest(self) -> str:
        return digest_json(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return dict(vars(self))


def part_name(number: int) -> str:
    """Of a part, in the store."""
    return f"part-{number:03d}"


@dataclass(frozen=True)
class PartUnit:
    """One part."""

    number: int
    doing: str
    count: int = 1

    @property
    def name(self) -> str:
        return part_name(self.number)


class StudyWorker:
    """Does the parts; what they have in common is made when the first is done."""

    def __init__(self, study: Study, model: LoadedModel, bench: Bench) -> None:
        self._study, self._model, self._bench = study, model, bench
        self._laid: Laid | None = None

    @property
    def steps(self) -> int:
        return len(self._study.parts)

    def plan(self, done: Mapping[str, Sequence[PartRecord]]) -> Sequence[PartUnit]:
        """See `Worker`."""
        return [PartUnit(number, name) for number, name in enumerate(self._study.parts)]

    def execute(self, unit: PartUnit) -> Done[PartRecord]:
        """See `Worker`."""
        if self._laid is None:
            self._laid = self._study.laid(self._model, self._bench)
        found = self._laid.part(unit.number)
        rows, points = [asdict(row) for row in found.rows], [asdict(point) for point in found.points]
        return Done([PartRecord(unit.number, rows, points)], found.arrays)

    def summarise(self, records: Sequence[PartRecord], warnings: Sequence[SanityWarning]) -> Mapping[str, Any]:
        """See `Worker`."""
        return {}


@dataclass(frozen=True)
class StudyFinding:
    """A study and what came out of it."""

    study: Study
    run_id: str
    rows: tuple[Row, ...]
    points: tuple[Point, ...]


def measure_study(study: Study, model: LoadedModel, bench: Bench, tracker: Tracker) -> StudyFinding:
    """Do the study, or what is left of it."""
    seed = bench.seed + (study.network.repeat if isinstance(study.network, Trained) else 0)
    task = StudyTask(study.label, model.digest, study.settings, seed)
    started = begin(bench.store, task, bench.command, resume=True)
    ended = run(started, StudyWorker(study, model, bench), CODEC, bench.store, tracker=tracker)
    records = sorted(bench.store.records(ended.run_id, CODEC), key=lambda record: record.place)
    return StudyFinding(
        study,
        ended.run_id,
        tuple(Row(**row) for record in records for row in record.rows),
        tuple(Point(**point) for record in records for point in record.points),
    )


@dataclass(frozen=True)
class StudyGroup:
    """Findings of one label."""

    findings: tuple[StudyFinding, ...]

    @property
    def label(self) -> str:
        return self.findings[0].study.label

    def rows(self) -> list[Row]:
        """Of one seed its rows; of several the mean and the spread of each, n being the seeds."""
        first = self.findings[0].rows
        if len(self.findings) == 1:
            return list(first)
        found: list[Row] = []
        for place, row in enumerate(first):
            values = [one.rows[place].measured for one in self.findings]
            known = [value for value in values if value is not None]
            mean = fmean(known) if known else None
            bare = replace(row, n=len(known), low=None, high=None)
            found.append(replace(bare, measured=mean))
            spread = stdev(known) if len(known) > 1 else None
            found.append(replace(bare, name=f"{row.name} spread", measured=spread, paper=None))
        return found

    def mean_points(self) -> list[Point]:
        """The points of a figure, averaged over seeds; their ends are then a standard deviation away."""
        gathered: dict[tuple[str, str, int], list[Point]] = {}
        for finding in self.findings:
            for point in finding.points:
                gathered.setdefault((point.panel, point.line, point.number), []).append(point)
        return [points[0] if len(self.findings) == 1 else _mean(points) for points in gathered.values()]


def _mean(points: Sequence[Point]) -> Point:
    mean = fmean(point.y for point in points)
    spread = stdev(point.y for point in points) if len(points) > 1 else None
    low, high = (None, None) if spread is None else (mean - spread, mean + spread)
    return replace(points[0], x=fmean(point.x for point in points), y=mean, low=low, high=high)


def grouped(findings: Sequence[StudyFinding]) -> tuple[StudyGroup, ...]:
    """Findings by label, in the order in which labels first come."""
    labels = dict.fromkeys(one.study.label for one in findings)
    return tuple(StudyGroup(tuple(one for one in findings if one.study.label == label)) for label in labels)
