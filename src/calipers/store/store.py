"""The run store: one SQLite file (WAL) for scalars, one Parquet folder per run for arrays.

A unit of work is the smallest thing that is done or not done: its records and the name of its array file enter in
one transaction, so a process killed at any moment leaves whole units only.
"""

import json
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from calipers.core.errors import InputError, StoreError
from calipers.core.records import FORMAT_VERSION, Kind, Outcome, RunSpec, SampleRecord
from calipers.core.results import Termination
from calipers.store.arrays import read_arrays, write_arrays

FILE_NAME = "calipers.sqlite"
_COLUMNS = [field.name for field in fields(SampleRecord)]


@dataclass(frozen=True)
class StoredRun:
    """A run as the store knows it. status: running, interrupted, failed or complete."""

    run_id: str
    created: str
    command: str
    status: str
    seconds: float
    spec: RunSpec


class Store:
    """Runs in the folder `root`, which is made if it is missing. Raises StoreError if the file is damaged."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.path = self.root / FILE_NAME
        if self.root.exists() and not self.root.is_dir():
            raise InputError(f"store {self.root}: is a file; accepted: a folder, also one that is still to be made")
        with self._guard():
            self.root.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            try:
                self._open()
            except BaseException:
                self._db.close()
                raise

    def _open(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA foreign_keys = ON")
        health = self._db.execute("PRAGMA quick_check").fetchone()[0]
        if health != "ok":
            raise sqlite3.DatabaseError(health)
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, FORMAT_VERSION):
            raise StoreError(
                f"store {self.path}: format version {version}, this program reads {FORMAT_VERSION}; "
                "use the calipers version that wrote it, or another --out folder"
            )
        self._db.executescript(Path(__file__).with_name("schema.sql").read_text())
        self._db.execute(f"PRAGMA user_version = {FORMAT_VERSION}")

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        self._db.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # writing

    def create_run(self, spec: RunSpec, command: str) -> str:
        """Enter a new run and return its id."""
        created = datetime.now(UTC).isoformat(timespec="seconds")
        run_id = f"{created[:10].replace('-', '')}-{secrets.token_hex(3)}"
        row = (run_id, spec.digest, created, command, "running", json.dumps(spec.to_dict()))
        with self._transaction() as db:
            db.execute("INSERT INTO runs (run_id, digest, created, command, status, spec) VALUES (?,?,?,?,?,?)", row)
        return run_id

    def add_unit(
        self, run_id: str, unit: str, records: Sequence[SampleRecord], arrays: dict[str, np.ndarray] | None = None
    ) -> None:
        """Enter one finished unit: all of it or nothing. A unit that is there already is left as it is."""
        file = None
        if arrays is not None:
            file = f"{unit}.parquet"
            with self._guard():
                write_arrays(self.array_folder(run_id) / file, arrays)
        marks = ",".join("?" * (len(_COLUMNS) + 1))
        with self._transaction() as db:
            fresh = db.execute("INSERT OR IGNORE INTO units VALUES (?,?,?)", (run_id, unit, file)).rowcount
            if fresh:
                rows = [(run_id, *asdict(record).values()) for record in records]
                db.executemany(f"INSERT INTO records (run_id,{','.join(_COLUMNS)}) VALUES ({marks})", rows)

    def set_status(self, run_id: str, status: str, seconds: float = 0.0) -> None:
        """Set the status and add `seconds` to the run's working time."""
        with self._transaction() as db:
            db.execute("UPDATE runs SET status = ?, seconds = seconds + ? WHERE run_id = ?", (status, seconds, run_id))

    def set_metric(self, run_id: str, name: str, value: Any) -> None:
        """Keep a JSON value under a name, replacing an earlier one."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO metrics VALUES (?,?,?)", (run_id, name, json.dumps(value)))

    # reading

    def runs(self) -> list[StoredRun]:
        """All runs, the newest first."""
        query = "SELECT run_id, created, command, status, seconds, spec FROM runs ORDER BY rowid DESC"
        return [_stored_run(row) for row in self._rows(query)]

    def run(self, run_id: str) -> StoredRun:
        """The run with this id or unique prefix of it; "latest" is the newest."""
        runs = self.runs()
        found = runs[:1] if run_id == "latest" else [run for run in runs if run.run_id.startswith(run_id)]
        if len(found) != 1:
            known = ", ".join(run.run_id for run in runs[:8]) or "none"
            what = "matches several runs" if found else "is not there"
            raise InputError(f"run {run_id!r} {what} in {self.path}; newest runs: {known}")
        return found[0]

    def find(self, spec: RunSpec) -> StoredRun | None:
        """The newest run with this specification."""
        query = "SELECT run_id FROM runs WHERE digest = ? ORDER BY rowid DESC LIMIT 1"
        row = next(iter(self._rows(query, (spec.digest,))), None)
        return None if row is None else self.run(row[0])

    def units(self, run_id: str) -> set[str]:
        """Names of the finished units."""
        return {row[0] for row in self._rows("SELECT unit FROM units WHERE run_id = ?", (run_id,))}

    def records(self, run_id: str) -> list[SampleRecord]:
        """All records, ordered by sample, kind, method and epsilon."""
        query = f"SELECT {','.join(_COLUMNS)} FROM records WHERE run_id = ? ORDER BY sample_id, kind, method, epsilon"
        return [_record(row) for row in self._rows(query, (run_id,))]

    def arrays(self, run_id: str, unit: str) -> dict[str, np.ndarray]:
        """The arrays of one finished unit; the first dimension counts samples."""
        rows = list(self._rows("SELECT arrays FROM units WHERE run_id = ? AND unit = ?", (run_id, unit)))
        if not rows or rows[0][0] is None:
            raise InputError(f"run {run_id}: unit {unit!r} has no arrays")
        with self._guard():
            return read_arrays(self.array_folder(run_id) / rows[0][0])

    def metric(self, run_id: str, name: str) -> Any:
        """The JSON value kept under a name, or None."""
        query = "SELECT value FROM metrics WHERE run_id = ? AND name = ?"
        row = next(iter(self._rows(query, (run_id, name))), None)
        return None if row is None else json.loads(row[0])

    def array_folder(self, run_id: str) -> Path:
        """Where a run's Parquet files lie."""
        return self.root / "arrays" / run_id

    # plumbing

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> Iterator[Any]:
        with self._guard():
            yield from self._db.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._guard():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StoreError(f"store {self.path}: {error}; {_remedy(str(error))}") from error
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"store {self.path} is damaged ({error}); move the file away or give another --out folder. "
                f"Arrays under {self.root / 'arrays'} are untouched"
            ) from error
        except OSError as error:
            raise StoreError(f"store {self.root}: {error}; {_remedy(str(error))}") from error


def _remedy(text: str) -> str:
    if "full" in text or "No space" in text:
        return "free some space and repeat with --resume: finished work is kept"
    if "readonly" in text or "unable to open" in text or "Permission" in text:
        return "give an --out folder that can be written"
    if "locked" in text:
        return "another process is writing to it; wait for it or give another --out folder"
    return "repeat with --resume: finished work is kept"


def _stored_run(row: tuple[Any, ...]) -> StoredRun:
    run_id, created, command, status, seconds, spec = row
    return StoredRun(run_id, created, command, status, seconds, RunSpec.from_dict(json.loads(spec)))


def _record(row: tuple[Any, ...]) -> SampleRecord:
    raw: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
    enums = {
        "kind": Kind(raw["kind"]),
        "outcome": Outcome(raw["outcome"]),
        "termination": Termination(raw["termination"]),
    }
    return SampleRecord(**{**raw, **enums})
