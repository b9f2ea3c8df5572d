"""kill -9 at random moments: a resumed run ends with the records of an uninterrupted one, none twice, none lost."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from calipers.evaluate.robustness.measure import records_of
from calipers.store.store import FILE_NAME, Store

COMMAND = [
    *(sys.executable, "-m", "calipers", "measure", "--model", "digits.maxpool", "--data", "digits"),
    *("--eps", "0.02", "0.1", "--samples", "12", "--batch-size", "2", "--json", "-"),
]


def start(out: Path, *more: str) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*COMMAND, "--out", str(out), *more]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, env=environment, stdout=quiet, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> None:
    _, complaint = process.communicate()
    assert process.returncode == 0, complaint


def units(out: Path) -> int:
    if not (out / FILE_NAME).exists():
        return 0
    with Store(out) as store:
        runs = store.runs()
        return len(store.units(runs[0].run_id)) if runs else 0


def records(out: Path) -> list:
    with Store(out) as store:
        (run,) = store.runs()
        assert run.status == "complete"
        return [dataclasses.replace(record, seconds=0.0) for record in records_of(store, run.run_id)]


def test_kill_and_resume(tmp_path: Path) -> None:
    finish(start(tmp_path / "whole"))
    out = tmp_path / "killed"
    moment = random.Random(os.getpid())
    kills = 0
    for _ in range(3):
        before = units(out)
        process = start(out, "--resume")
        # Let it get somewhere, then kill it in the middle of whatever it does.
        while process.poll() is None and units(out) <= before:
            time.sleep(0.02)
        time.sleep(moment.random() * 0.1)
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert kills >= 2
    finish(start(out, "--resume"))
    assert records(out) == records(tmp_path / "whole")
