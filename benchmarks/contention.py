"""What threads cost small networks on an idle machine and on a busy one.

    python -m benchmarks.contention [--json FILE]

First one forward and backward pass of a small network, with spinning and with sleeping threads, alone and in three
processes at once: medians over processes. Then a small measurement from Python, 50 digits at one radius, with threads
chosen by the size of the work, as the library does, and with all of torch's threads throughout; alone and beside as
many busy processes as there are cores. Seconds without start-up.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.output import Row, write

PASS = """
import time, torch
from torch import nn
net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(128, 10))
net = net.eval().requires_grad_(False)
x = torch.rand(50, 1, 8, 8)
def step():
    z = x.clone().requires_grad_(True)
    torch.autograd.grad(net(z).logsumexp(1).sum(), z)
for _ in range(5): step()
start = time.perf_counter()
for _ in range(200): step()
print((time.perf_counter() - start) / 200)
"""
MEASUREMENT = """
import sys, tempfile, time
import calipers as cal
from calipers.evaluate import threads
if sys.argv[1] == "all threads":
    threads.worth = lambda multiplications, available: available
with tempfile.TemporaryDirectory() as out:
    for samples in (1, 50):
        start = time.perf_counter()
        cal.measure("digits.maxpool", "digits", cal.ThreatModel("linf", 0.03), samples=samples, out=out)
print(time.perf_counter() - start)
"""


def passes(policy: str, processes: int) -> list[float]:
    environment = {**os.environ, "OMP_WAIT_POLICY": policy}
    started = [
        subprocess.Popen([sys.executable, "-c", PASS], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    return [float(process.communicate()[0]) for process in started]


def measurement(way: str) -> float:
    command = [sys.executable, "-c", MEASUREMENT, way]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return float(done.stdout)


@contextmanager
def busy(processes: int) -> Iterator[None]:
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    rows = [
        Row(f"a pass, {policy.lower()}, {count} processes", statistics.median(passes(policy, count)), count, "seconds")
        for policy in ("ACTIVE", "PASSIVE")
        for count in (1, 3)
    ]
    for name, others in (("idle", 0), ("busy", os.cpu_count() or 1)):
        with busy(others):
            ways = ("threads by size", "all threads")
            rows += [Row(f"a measurement, {way}, {name}", measurement(way), 50, "seconds") for way in ways]
    write("python -m benchmarks.contention", rows, arguments.json)


if __name__ == "__main__":
    main()
