"""What the store must keep: everything comes back as it went in, units are whole or absent, damage is noticed."""

import dataclasses
import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calipers.core.errors import InputError, StoreError
from calipers.core.results import Termination
from calipers.evaluate.robustness.records import Outcome, Question, SampleRecord
from calipers.evaluate.robustness.task import MethodSpec, RobustnessTask
from calipers.store.store import FILE_NAME, FORMAT_VERSION, Store

SPEC = RobustnessTask(
    model="zoo.net",
    model_digest="m",
    weights=None,
    data="digits",
    data_digest="d",
    class_names=("a", "b"),
    samples=4,
    norm="linf",
    epsilons=(0.1, 0.2),
    unit="pixel",
    scale=(1.0,),
    domain=(0.0, 1.0),
    attacks=(MethodSpec("pgd", {"steps": 40, "step_size": 0.1}),),
    verifiers=(MethodSpec("capm"),),
    seed=0,
    batch_size=2,
    versions={"calipers": "0"},
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
RECORDS = st.builds(
    SampleRecord,
    sample_id=st.integers(0, 2**31),
    label=st.integers(0, 9),
    question=st.sampled_from(Question),
    method=st.text(min_size=1, max_size=10).filter(lambda text: "\x00" not in text and text.isprintable()),
    epsilon=st.none() | st.floats(0, 10),
    outcome=st.sampled_from(Outcome),
    termination=st.sampled_from(Termination),
    margin=st.none() | FINITE,
    distance=st.none() | FINITE,
    prediction=st.none() | st.integers(0, 9),
    forwards=st.integers(0, 2**31),
    backwards=st.integers(0, 2**31),
    seconds=st.floats(0, 1e6),
    seed=st.integers(0, 2**63 - 1),
    message=st.just("") | st.just('it\'s "quoted"'),
)


def record(sample: int, **changes: Any) -> SampleRecord:
    base = SampleRecord(
        sample, 1, Question.CLEAN, "clean", None, Outcome.CORRECT, Termination.COMPLETED, 0.5, None, 1, 1, 0, 0.1, 0
    )
    return dataclasses.replace(base, **changes)


@given(RECORDS)
def test_records_come_back_as_they_went_in(tmp_path_factory, item: SampleRecord) -> None:
    with Store(tmp_path_factory.mktemp("store")) as store:
        run = store.create_run(SPEC, "calipers measure")
        store.add_unit(run, "unit", [item])
        assert store.records(run) == [item]


def test_specifications_survive_json() -> None:
    assert RobustnessTask.from_dict(json.loads(json.dumps(SPEC.to_dict()))) == SPEC
    assert dataclasses.replace(SPEC, seed=1).digest != SPEC.digest
    assert RobustnessTask.from_dict(SPEC.to_dict()).digest == SPEC.digest


def test_runs_are_found_by_specification_prefix_and_age(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        first = store.create_run(SPEC, "one")
        second = store.create_run(dataclasses.replace(SPEC, seed=1), "two")
        found = store.find(SPEC)
        assert found is not None
        assert found.run_id == first
        assert store.find(dataclasses.replace(SPEC, seed=2)) is None
        assert store.run("latest").run_id == second
        assert store.run(first).command == "one"
        assert [run.run_id for run in store.runs()] == [second, first]
        with pytest.raises(InputError, match=r"run 'nope' is not there .* newest runs"):
            store.run("nope")
        with pytest.raises(InputError, match="matches several"):
            store.run("2")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64])
def test_arrays_come_back_as_they_went_in(tmp_path: Path, dtype: type) -> None:
    arrays: dict[str, np.ndarray] = {
        "image": np.random.default_rng(0).integers(0, 255, (3, 2, 4, 5)).astype(dtype),
        "flag": np.arange(3).astype(dtype),
    }
    with Store(tmp_path) as store:
        run = store.create_run(SPEC, "")
        store.add_unit(run, "unit", [], arrays)
        back = store.arrays(run, "unit")
        for name, array in arrays.items():
            assert back[name].dtype == array.dtype
            assert np.array_equal(back[name], array)
        with pytest.raises(InputError, match="no arrays"):
            store.arrays(run, "other")


def test_a_unit_enters_once(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run = store.create_run(SPEC, "")
        store.add_unit(run, "unit", [record(0)])
        store.add_unit(run, "unit", [record(0, margin=9.0)])
        assert store.records(run) == [record(0)]
        assert store.units(run) == {"unit"}


def test_a_unit_that_clashes_leaves_nothing_behind(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run = store.create_run(SPEC, "")
        store.add_unit(run, "one", [record(0)])
        with pytest.raises(StoreError):
            store.add_unit(run, "two", [record(1), record(0)])
        assert store.units(run) == {"one"}
        assert store.records(run) == [record(0)]


def test_metrics_are_replaced(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run = store.create_run(SPEC, "")
        assert store.metric(run, "report") is None
        store.set_metric(run, "report", {"a": 1})
        store.set_metric(run, "report", {"a": 2})
        assert store.metric(run, "report") == {"a": 2}


@pytest.mark.parametrize("damage", ["garbage", "torn"])
def test_a_damaged_store_is_a_clear_error(tmp_path: Path, damage: str) -> None:
    with Store(tmp_path) as store:
        run = store.create_run(SPEC, "")
        store.add_unit(run, "unit", [record(i) for i in range(500)])
    file = tmp_path / FILE_NAME
    content = file.read_bytes()
    if damage == "garbage":
        file.write_bytes(b"this is not a database at all" * 200)
    else:
        file.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match=r"is damaged .* another --out"):
        Store(tmp_path)


def test_another_format_version_is_a_clear_error(tmp_path: Path) -> None:
    Store(tmp_path).close()
    raw = sqlite3.connect(tmp_path / FILE_NAME)
    raw.execute(f"PRAGMA user_version = {FORMAT_VERSION + 1}")
    raw.close()
    with pytest.raises(StoreError, match=f"format version {FORMAT_VERSION + 1}, this program reads {FORMAT_VERSION}"):
        Store(tmp_path)


def test_damaged_arrays_are_a_clear_error(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run = store.create_run(SPEC, "")
        store.add_unit(run, "unit", [], {"x": np.zeros((2, 3))})
        (store.array_folder(run) / "unit.parquet").write_bytes(b"torn")
        with pytest.raises(StoreError, match="are damaged"):
            store.arrays(run, "unit")


def test_a_full_disk_is_a_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run = store.create_run(SPEC, "")
        store.add_unit(run, "one", [record(0)])
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages}")  # the file cannot grow, as on a full disk
        with pytest.raises(StoreError, match=r"full; free some space and repeat with --resume"):
            store.add_unit(run, "two", [record(i) for i in range(1, 2000)])
        store._db.execute("PRAGMA max_page_count = 1000000")
        assert store.records(run) == [record(0)]
        store.add_unit(run, "two", [record(i) for i in range(1, 2000)])
        assert len(store.records(run)) == 2000


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        Store(tmp_path / "file" / "store")
