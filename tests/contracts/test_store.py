"""What the store must keep: everything comes back as it went in, units are whole or absent, damage is noticed."""

import dataclasses
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calipers.core.errors import InputError, StoreError
from calipers.core.results import Termination
from calipers.core.tasks import Done
from calipers.core.warnings import SanityWarning
from calipers.evaluate.robustness.records import Outcome, Question, SampleCodec, SampleRecord
from calipers.evaluate.robustness.task import RobustnessTask
from calipers.store.store import FILE_NAME, FORMAT_VERSION, Store
from tests.tasks import TASK, clean_record

CODEC = SampleCodec()
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


@given(RECORDS)
def test_records_come_back_as_they_went_in(tmp_path_factory, item: SampleRecord) -> None:
    with Store(tmp_path_factory.mktemp("store")) as store:
        run = store.create_run(TASK, "calipers measure").run_id
        store.add_unit(run, "unit", Done([item]), CODEC)
        assert store.records(run, CODEC) == [item]


def test_specifications_survive_json() -> None:
    assert RobustnessTask.from_dict(json.loads(json.dumps(TASK.to_dict()))) == TASK
    assert dataclasses.replace(TASK, seed=1).digest != TASK.digest
    assert RobustnessTask.from_dict(TASK.to_dict()).digest == TASK.digest


def test_runs_are_found_by_specification_prefix_and_age(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        first = store.create_run(TASK, "one").run_id
        second = store.create_run(dataclasses.replace(TASK, seed=1), "two").run_id
        found = store.find(TASK)
        assert found is not None
        assert found.run_id == first
        assert store.find(dataclasses.replace(TASK, seed=2)) is None
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
        run = store.create_run(TASK, "").run_id
        store.add_unit(run, "unit", Done(arrays=arrays), CODEC)
        back = store.arrays(run, "unit")
        for name, array in arrays.items():
            assert back[name].dtype == array.dtype
            assert np.array_equal(back[name], array)
        with pytest.raises(InputError, match="no arrays"):
            store.arrays(run, "other")


def test_a_unit_enters_once(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run = store.create_run(TASK, "").run_id
        store.add_unit(run, "unit", Done([clean_record(0)]), CODEC)
        store.add_unit(run, "unit", Done([clean_record(0, margin=9.0)]), CODEC)
        assert store.records(run, CODEC) == [clean_record(0)]
        assert store.units(run) == {"unit"}


def test_a_unit_that_clashes_leaves_nothing_behind(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run = store.create_run(TASK, "").run_id
        store.add_unit(run, "one", Done([clean_record(0)]), CODEC)
        with pytest.raises(StoreError):
            store.add_unit(run, "two", Done([clean_record(1), clean_record(0)]), CODEC)
        assert store.units(run) == {"one"}
        assert store.records(run, CODEC) == [clean_record(0)]


def test_metrics_are_replaced(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run = store.create_run(TASK, "").run_id
        assert store.metric(run, "report") is None
        store.set_metric(run, "report", {"a": 1})
        store.set_metric(run, "report", {"a": 2})
        assert store.metric(run, "report") == {"a": 2}


@pytest.mark.parametrize("damage", ["garbage", "torn"])
def test_a_damaged_store_is_a_clear_error(tmp_path: Path, damage: str) -> None:
    with Store(tmp_path) as store:
        run = store.create_run(TASK, "").run_id
        store.add_unit(run, "unit", Done([clean_record(i) for i in range(500)]), CODEC)
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
        run = store.create_run(TASK, "").run_id
        store.add_unit(run, "unit", Done(arrays={"x": np.zeros((2, 3))}), CODEC)
        (store.array_folder(run) / "unit.parquet").write_bytes(b"torn")
        with pytest.raises(StoreError, match="are damaged"):
            store.arrays(run, "unit")


def test_a_full_disk_is_a_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run = store.create_run(TASK, "").run_id
        store.add_unit(run, "one", Done([clean_record(0)]), CODEC)
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages}")  # the file cannot grow, as on a full disk
        with pytest.raises(StoreError, match=r"full; free some space and repeat with --resume"):
            store.add_unit(run, "two", Done([clean_record(i) for i in range(1, 2000)]), CODEC)
        store._db.execute("PRAGMA max_page_count = 1000000")
        assert store.records(run, CODEC) == [clean_record(0)]
        store.add_unit(run, "two", Done([clean_record(i) for i in range(1, 2000)]), CODEC)
        assert len(store.records(run, CODEC)) == 2000


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        Store(tmp_path / "file" / "store")


def test_warnings_come_back_by_source_and_are_replaced(tmp_path: Path) -> None:
    first, second, third = (SanityWarning(code, "message", "evidence") for code in "abc")
    with Store(tmp_path) as store:
        run = store.create_run(TASK, "").run_id
        store.add_unit(run, "checks", Done(warnings=(first, second)), CODEC)
        store.set_warnings(run, "certificates", (third,))
        assert store.warnings(run) == [first, second, third]
        store.set_warnings(run, "certificates", ())
        assert store.warnings(run) == [first, second]


def test_records_are_in_one_order_whatever_came_first(tmp_path: Path) -> None:
    records = [clean_record(sample, method=method) for sample in range(12) for method in ("a", "b")]
    with Store(tmp_path) as store:
        run = store.create_run(TASK, "").run_id
        for record in reversed(records):
            store.add_unit(run, f"{record.method}-{record.sample_id}", Done([record]), CODEC)
        assert store.records(run, CODEC) == records
        assert store.done(run, CODEC) == {f"{r.method}-{r.sample_id}": [r] for r in records}


def test_a_store_of_an_older_format_is_refused_with_the_remedy(tmp_path: Path) -> None:
    raw = sqlite3.connect(tmp_path / FILE_NAME)
    raw.execute("CREATE TABLE runs (run_id TEXT PRIMARY KEY)")
    raw.execute("PRAGMA user_version = 1")
    raw.close()
    with pytest.raises(StoreError, match=f"format version 1, this program reads {FORMAT_VERSION}; .*another --out"):
        Store(tmp_path)
