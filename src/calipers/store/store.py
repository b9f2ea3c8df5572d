"""The run store: one SQLite file (WAL) for scalars, one Parquet folder per run for arrays.

A unit of work is the smallest thing that is done or not done: its records and the name of its array file enter in
one transaction, so a process killed at any moment leaves whole units only.
"""

import json
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from calipers.core.errors import InputError, StoreError
from calipers.core.tasks import Done, Run, Task
from calipers.core.warnings import SanityWarning
from calipers.store.arrays import read_arrays, write_arrays
from calipers.store.codec import Codec

FILE_NAME = "calipers.sqlite"
FORMAT_VERSION = 2
_RUN = "run_id, kind, title, created, command, status, seconds, task"

R = TypeVar("R")


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

    def create_run(self, task: Task, command: str) -> Run:
        """Enter a new run."""
        created = datetime.now(UTC).isoformat(timespec="seconds")
        run_id = f"{created[:10].replace('-', '')}-{secrets.token_hex(3)}"
        row = (run_id, task.kind, task.digest, task.title, created, command, "running", json.dumps(task.to_dict()))
        names = "run_id, kind, digest, title, created, command, status, task"
        with self._transaction() as db:
            db.execute(f"INSERT INTO runs ({names}) VALUES (?,?,?,?,?,?,?,?)", row)
        return self.run(run_id)

    def add_unit(self, run_id: str, unit: str, done: Done[R], codec: Codec[R]) -> None:
        """Enter one finished unit: all of it or nothing. A unit that is there already is left as it is."""
        file = None
        if done.arrays is not None:
            file = f"{unit}.parquet"
            with self._guard():
                write_arrays(self.array_folder(run_id) / file, done.arrays)
        with self._transaction() as db:
            fresh = db.execute("INSERT OR IGNORE INTO units VALUES (?,?,?)", (run_id, unit, file)).rowcount
            if fresh:
                rows = [(run_id, unit, codec.place(r), codec.part(r), json.dumps(codec.dump(r))) for r in done.records]
                db.executemany("INSERT INTO records VALUES (?,?,?,?,?)", rows)
                _warn(db, run_id, unit, done.warnings)

    def set_warnings(self, run_id: str, source: str, warnings: Sequence[SanityWarning]) -> None:
        """Keep what a source has to say about a run, in place of what it said before."""
        with self._transaction() as db:
            db.execute("DELETE FROM warnings WHERE run_id = ? AND source = ?", (run_id, source))
            _warn(db, run_id, source, warnings)

    def set_status(self, run_id: str, status: str, seconds: float = 0.0) -> None:
        """Set the status and add `seconds` to the run's working time."""
        with self._transaction() as db:
            db.execute("UPDATE runs SET status = ?, seconds = seconds + ? WHERE run_id = ?", (status, seconds, run_id))

    def set_metric(self, run_id: str, name: str, value: Any) -> None:
        """Keep a JSON value under a name, replacing an earlier one."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO metrics VALUES (?,?,?)", (run_id, name, json.dumps(value)))

    # reading

    def runs(self) -> list[Run]:
        """All runs, the newest first."""
        return [_run(row) for row in self._rows(f"SELECT {_RUN} FROM runs ORDER BY rowid DESC")]

    def run(self, run_id: str, kind: str | None = None) -> Run:
        """The run with this id or unique prefix of it; "latest" is the newest. kind: look among these only."""
        runs = [run for run in self.runs() if kind is None or run.kind == kind]
        found = runs[:1] if run_id == "latest" else [run for run in runs if run.run_id.startswith(run_id)]
        if len(found) != 1:
            known = ", ".join(run.run_id for run in runs[:8]) or "none"
            what = "matches several runs" if found else "is not there"
            raise InputError(f"run {run_id!r} {what} in {self.path}; newest runs: {known}")
        return found[0]

    def find(self, task: Task) -> Run | None:
        """The newest run of this task."""
        query = f"SELECT {_RUN} FROM runs WHERE kind = ? AND digest = ? ORDER BY rowid DESC LIMIT 1"
        row = next(iter(self._rows(query, (task.kind, task.digest))), None)
        return None if row is None else _run(row)

    def units(self, run_id: str) -> set[str]:
        """Names of the finished units."""
        return {row[0] for row in self._rows("SELECT unit FROM units WHERE run_id = ?", (run_id,))}

    def done(self, run_id: str, codec: Codec[R]) -> dict[str, list[R]]:
        """Records of every finished unit."""
        done: dict[str, list[R]] = {unit: [] for unit in self.units(run_id)}
        query = "SELECT unit, body FROM records WHERE run_id = ? ORDER BY place, part"
        for unit, body in self._rows(query, (run_id,)):
            done[unit].append(codec.load(json.loads(body)))
        return done

    def records(self, run_id: str, codec: Codec[R]) -> list[R]:
        """All records, ordered by place and part, whatever the order in which they were made."""
        query = "SELECT body FROM records WHERE run_id = ? ORDER BY place, part"
        return [codec.load(json.loads(row[0])) for row in self._rows(query, (run_id,))]

    def warnings(self, run_id: str) -> list[SanityWarning]:
        """What was said about a run, in that order."""
        query = "SELECT code, message, evidence FROM warnings WHERE run_id = ? ORDER BY rowid"
        return [SanityWarning(*row) for row in self._rows(query, (run_id,))]

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


def _run(row: tuple[Any, ...]) -> Run:
    run_id, kind, title, created, command, status, seconds, task = row
    return Run(run_id, kind, title, created, command, status, seconds, json.loads(task))


def _warn(db: sqlite3.Connection, run_id: str, source: str, warnings: Sequence[SanityWarning]) -> None:
    rows = [(run_id, source, warning.code, warning.message, warning.evidence) for warning in warnings]
    db.executemany("INSERT INTO warnings VALUES (?,?,?,?,?)", rows)
