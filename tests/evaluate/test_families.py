"""A family of VNN-LIB instances is a run like any other: kept, resumed, the same whoever does it."""

import dataclasses
from pathlib import Path

import pytest

from calipers.core.tasks import Done
from calipers.evaluate.families import (
    CODEC,
    FamilyTask,
    FamilyWorker,
    InstanceRecord,
    InstanceUnit,
    scores_of,
)
from calipers.evaluate.run import begin, run
from calipers.execute import Executor, Here, Processes
from calipers.store.store import Store
from calipers.verify import Limits
from calipers.verify.vnnlib import load_instances
from tests.limits import NEVER
from tests.verify.vnnlib.families import property_text, write_mlp


@pytest.fixture
def task(tmp_path: Path) -> FamilyTask:
    write_mlp(tmp_path / "net.onnx", 0)
    box = [(-0.1, 0.1), (0.0, 0.1)]
    (tmp_path / "unsat.vnnlib").write_text(property_text(box, 3, "(assert (<= Y_0 -1000.0))"))
    (tmp_path / "sat.vnnlib").write_text(property_text(box, 3, "(assert (>= Y_0 -1000.0))"))
    lines = ["onnx,vnnlib,timeout_s,expected", "net.onnx,unsat.vnnlib,99,unsat", "net.onnx,sat.vnnlib,99,", "no,no,9,"]
    (tmp_path / "instances.csv").write_text("\n".join(lines))
    return FamilyTask("instances.csv", load_instances(tmp_path / "instances.csv"), NEVER)


@pytest.mark.parametrize("executor", [Here(), Processes(2)], ids=str)
def test_answers_come_back_whole(executor: Executor, task: FamilyTask, tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        ended = run(begin(store, task, "", resume=False), FamilyWorker(task, Limits()), CODEC, store, executor)
        scores = scores_of(store, ended.run_id)
        assert store.metric(ended.run_id, "outcomes") == {"unsat": 1, "sat": 1, "error": 1}
    assert [score.word for score in scores] == ["unsat", "sat", "error"]
    assert [score.instance for score in scores] == list(task.instances)
    assert "no" in scores[2].error
    answer = scores[1].answer
    assert answer is not None
    assert answer.unsafe is not None
    assert answer.unsafe.y[0] >= -1000
    assert not any(score.contradicts for score in scores)


def test_a_stopped_family_goes_on_where_it_was(task: FamilyTask, tmp_path: Path) -> None:
    known = InstanceRecord(1, "net.onnx", "unsat.vnnlib", 99.0, "unsat", "timeout", 1.5, "", "", "kept")
    with Store(tmp_path / "store") as store:
        started = begin(store, task, "", resume=True)
        store.add_unit(started.run_id, InstanceUnit(1, task.instances[0]).name, Done([known]), CODEC)
        again = begin(store, task, "", resume=True)
        assert again.run_id == started.run_id
        run(again, FamilyWorker(task, Limits()), CODEC, store)
        scores = scores_of(store, again.run_id)
        assert [(score.word, score.note) for score in scores][:2] == [("timeout", "kept"), ("sat", "")]


def test_other_seconds_or_instances_are_another_task(task: FamilyTask) -> None:
    assert dataclasses.replace(task, timeout=1.0).digest != task.digest
    assert dataclasses.replace(task, instances=task.instances[:1]).digest != task.digest
    assert dataclasses.replace(task, output="y").digest != task.digest
