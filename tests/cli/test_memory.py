"""Freed memory that a process keeps, in processes of their own: the setting is the whole process's."""

import platform
import subprocess
import sys

import pytest

WORKER = """
import os, sys
import torch
from calipers.cli.memory import keep_freed_memory

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

if sys.argv[1] == "kept":
    keep_freed_memory()
torch.ones(10)
before = resident()
arrays = [torch.ones(6 * 2**18) for _ in range(16)]
del arrays
print(resident() - before)
"""


def left(way: str) -> float:
    """MiB that a process still holds of 96 that it has freed."""
    done = subprocess.run([sys.executable, "-c", WORKER, way], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_arrays_stay_with_the_process() -> None:
    assert left("given back") < 20 < 80 < left("kept")
