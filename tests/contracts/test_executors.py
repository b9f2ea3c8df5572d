"""What every executor must keep: all units are done once, errors come through, and what is killed is done again."""

import os
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from calipers.core.errors import InputError
from calipers.execute import Executor, Here, Processes
from calipers.execute.processes import ProcessDiedError

EXECUTORS = [Here(), Processes(1), Processes(3)]


@dataclass(frozen=True)
class Number:
    """A unit of work."""

    value: int

    @property
    def name(self) -> str:
        return f"number-{self.value}"


@dataclass(frozen=True)
class Square:
    """Fails, or dies, at some numbers. marks: folder in which it notes where it died."""

    fails: int | None = None
    dies: int | None = None
    times: int = 0
    marks: Path = Path()

    def execute(self, unit: Number) -> tuple[int, int]:
        if unit.value == self.fails:
            raise InputError(f"number {unit.value} is not accepted")
        if unit.value == self.dies and len(list(self.marks.iterdir())) < self.times:
            (self.marks / f"{len(list(self.marks.iterdir()))}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return unit.value**2, os.getpid()


def done(executor: Executor, work: Square, count: int = 7) -> tuple[Counter, set[int]]:
    begun: list[Number] = []
    pairs = list(executor.map(work.execute, [Number(i) for i in range(count)], begun.append))
    assert {unit.value for unit in begun} == set(range(count))
    return Counter((unit.value, square) for unit, (square, _) in pairs), {process for _, (_, process) in pairs}


@pytest.mark.parametrize("executor", EXECUTORS, ids=str)
def test_every_unit_is_done_once(executor: Executor) -> None:
    found, processes = done(executor, Square())
    assert found == Counter((i, i * i) for i in range(7))
    assert (os.getpid() in processes) == isinstance(executor, Here)


@pytest.mark.parametrize("executor", EXECUTORS, ids=str)
def test_nothing_to_do_is_fine(executor: Executor) -> None:
    assert list(executor.map(Square().execute, [], lambda unit: None)) == []


@pytest.mark.parametrize("executor", EXECUTORS, ids=str)
def test_an_error_comes_through_in_its_own_words(executor: Executor) -> None:
    with pytest.raises(InputError, match="number 2 is not accepted"):
        done(executor, Square(fails=2))


@pytest.mark.parametrize("times", [1, 2])
def test_the_unit_of_a_killed_process_is_done_again(times: int, tmp_path: Path) -> None:
    found, _ = done(Processes(2), Square(dies=3, times=times, marks=tmp_path))
    assert found == Counter((i, i * i) for i in range(7))
    assert len(list(tmp_path.iterdir())) == times


def test_a_unit_that_always_kills_its_process_ends_the_run_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ProcessDiedError, match=r"number-3: its process was killed by signal 9, 3 times; .*--workers"):
        done(Processes(2), Square(dies=3, times=100, marks=tmp_path))


def test_work_that_cannot_be_sent_is_told() -> None:
    with pytest.raises(InputError, match="cannot be sent to another process"):
        list(Processes(2).map(lambda unit: unit, [Number(1)], lambda unit: None))


def test_no_processes_are_no_executor() -> None:
    with pytest.raises(InputError, match="workers: 0; accepted: 1 or more"):
        Processes(0)
