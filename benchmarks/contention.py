"""What waiting threads cost when processes share cores: three processes that take gradients of a small network at once.

    python benchmarks/contention.py [--json FILE]

Prints the median time of one forward and backward pass per process, with spinning and with sleeping threads.
"""

import argparse
import os
import statistics
import subprocess
import sys

from benchmarks.output import Row, write

WORKER = """
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


def seconds(policy: str, processes: int) -> list[float]:
    environment = {**os.environ, "OMP_WAIT_POLICY": policy}
    started = [
        subprocess.Popen([sys.executable, "-c", WORKER], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    return [float(process.communicate()[0]) for process in started]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    rows = [
        Row(f"{policy.lower()}, {count} processes", statistics.median(seconds(policy, count)), count, "seconds")
        for policy in ("ACTIVE", "PASSIVE")
        for count in (1, 3)
    ]
    write("benchmarks/contention.py", rows, arguments.json)


if __name__ == "__main__":
    main()
