"""Training that was killed and resumed ends with the weights of training in peace, for every objective."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from calipers.train import OBJECTIVES
from tests.train.test_train import assert_equal

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


def left(path: Path) -> dict[str, Any]:
    """A checkpoint without the seconds that the training took."""
    content = torch.load(path, weights_only=True)
    history = [{name: value for name, value in record.items() if name != "seconds"} for record in content["history"]]
    return {**content, "history": history, "seconds": None}


def assert_resumed(folder: Path, kills: int) -> None:
    names = sorted(name for name in OBJECTIVES if name != "duel")  # that one another test registers
    seed = str(random.randrange(2**31))
    command = [sys.executable, "-m", "tests.train.killed", str(folder), str(kills), seed, *names]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[2])
    assert ended.returncode == 0, f"seed {seed}: {ended.stderr}"
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [line["objective"] for line in lines] == names
    deaths = [told for line in lines for told in line["deaths"] if told is not None]
    assert len(deaths) > len(names) * kills / 3  # a kill may come when all is over
    for name in names:
        one, two = (left(folder / f"{name}.{kind}.checkpoint") for kind in ("whole", "killed"))
        try:
            assert_equal(one, two)
        except AssertionError as error:
            raise AssertionError(f"{name}, seed {seed}, killed after {lines[names.index(name)]}: {error}") from error


def test_killed_and_resumed_every_objective_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    assert_resumed(tmp_path, 1)


@pytest.mark.full
def test_killed_at_ten_moments_every_objective_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    assert_resumed(tmp_path, 10)
