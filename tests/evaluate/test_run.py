"""The loop, tried with a kind of run of its own: counting. New kinds take new files and no edit elsewhere."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calipers.cli.report import report as report_command
from calipers.cli.runs import runs as runs_command
from calipers.cli.runs import show as show_command
from calipers.core.digests import digest_json
from calipers.core.tasks import Done, Run
from calipers.core.warnings import SanityWarning
from calipers.evaluate.run import begin, run
from calipers.execute import Executor, Here, Processes
from calipers.report.views import VIEWS, View, view_of
from calipers.store.codec import PlainCodec
from calipers.store.store import Store


@dataclass(frozen=True)
class CountTask:
    """The numbers up to `most`, then their sum."""

    most: int

    @property
    def kind(self) -> str:
        return "counting"

    @property
    def title(self) -> str:
        return f"the numbers up to {self.most}"

    @property
    def digest(self) -> str:
        return digest_json(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class CountUnit:
    """One number, or the sum of those before."""

    name: str
    number: int
    count: int = 1

    @property
    def doing(self) -> str:
        return f"counting {self.name}"


@dataclass(frozen=True)
class Counted:
    """What a unit found."""

    place: int
    value: int


CODEC = PlainCodec(Counted, "place")


@dataclass(frozen=True)
class CountWorker:
    """Squares the numbers; the last unit needs all the others. stops: raise there."""

    most: int
    stops: int | None = None
    error: type[BaseException] = KeyboardInterrupt

    @property
    def steps(self) -> int:
        return self.most + 1

    def plan(self, done: Mapping[str, Sequence[Counted]]) -> Sequence[CountUnit]:
        units = [CountUnit(f"number-{i}", i) for i in range(self.most)]
        if all(unit.name in done for unit in units):
            units.append(CountUnit("sum", sum(r.value for unit in units for r in done[unit.name])))
        return units

    def execute(self, unit: CountUnit) -> Done[Counted]:
        if unit.name == "sum":
            return Done([Counted(self.most, unit.number)], warnings=[SanityWarning("done", "that was all", "a sum")])
        if unit.number == self.stops:
            raise self.error
        return Done([Counted(unit.number, unit.number**2)], {"x": np.full((1, 2), unit.number)})

    def summarise(self, records: Sequence[Counted], warnings: Sequence[SanityWarning]) -> Mapping[str, Any]:
        return {"numbers": [record.value for record in records], "told": [warning.code for warning in warnings]}


class Heard:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def advance(self, doing: str, done: int) -> None:
        self.told.append((doing, done))


@pytest.mark.parametrize("executor", [Here(), Processes(2)], ids=str)
def test_a_new_kind_of_run_needs_no_edit_elsewhere(executor: Executor, tmp_path: Path) -> None:
    task, heard = CountTask(4), Heard()
    with Store(tmp_path) as store:
        started = begin(store, task, "count 4", resume=False)
        ended = run(started, CountWorker(4), CODEC, store, executor, heard)
        assert (ended.status, ended.kind, ended.title) == ("complete", "counting", "the numbers up to 4")
        assert ended.task == json.loads(json.dumps(task.to_dict()))
        assert store.records(ended.run_id, CODEC) == [Counted(i, i * i) for i in range(4)] + [Counted(4, 14)]
        assert store.metric(ended.run_id, "numbers") == [0, 1, 4, 9, 14]
        assert store.metric(ended.run_id, "told") == ["done"]
        assert np.array_equal(store.arrays(ended.run_id, "number-3")["x"], [[3, 3]])
    assert heard.told[-1] == ("counting sum", 5)
    assert [done for _, done in heard.told] == sorted(done for _, done in heard.told)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_was_done_before_an_end_is_kept_and_gone_on_from(error: type[BaseException], tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        started = begin(store, CountTask(4), "", resume=True)
        with pytest.raises(error):
            run(started, CountWorker(4, stops=2, error=error), CODEC, store)
        interrupted = error is KeyboardInterrupt
        assert store.run(started.run_id).status == ("interrupted" if interrupted else "failed")
        assert store.units(started.run_id) == {"number-0", "number-1"}
        assert store.metric(started.run_id, "numbers") == ([0, 1] if interrupted else None)
        again = begin(store, CountTask(4), "", resume=True)
        assert again.run_id == started.run_id
        heard = Heard()
        assert run(again, CountWorker(4), CODEC, store, tracker=heard).status == "complete"
        assert heard.told[0] == ("counting number-2", 2)
        assert store.metric(started.run_id, "numbers") == [0, 1, 4, 9, 14]


def test_another_task_and_a_fresh_start_are_other_runs(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        first = begin(store, CountTask(4), "", resume=True)
        assert begin(store, CountTask(5), "", resume=True).run_id != first.run_id
        assert begin(store, CountTask(4), "", resume=False).run_id != first.run_id


@dataclass(frozen=True)
class Sum:
    """A section of a page."""

    numbers: tuple[int, ...]

    def html(self) -> str:
        return f"<section><h2>Counted</h2><p>{sum(self.numbers)}</p></section>"


def count_view(store: Store, started: Run) -> View:
    numbers = store.metric(started.run_id, "numbers")
    rows = {"rows": numbers}
    return View(
        started.run_id, started.title, "Counting", "1", (Sum(tuple(numbers)),), rows, rows, lambda width: ["sum"]
    )


def test_a_new_kind_of_run_has_a_page_and_is_listed_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    if "counting" not in VIEWS:
        VIEWS.add("counting")(count_view)
    with Store(tmp_path) as store:
        started = begin(store, CountTask(3), "count 3", resume=False)
        run(started, CountWorker(3), CODEC, store)
        page = view_of(store, "latest").html()
    assert "<h2>Counted</h2><p>10</p>" in page
    assert "<title>the numbers up to 3</title>" in page
    runs_command(tmp_path)
    show_command("latest", tmp_path)
    report_command("latest", tmp_path)
    printed = capsys.readouterr().out
    assert "counting" in printed
    assert "sum" in printed
    assert (tmp_path / f"{started.run_id}.html").read_text() == page
