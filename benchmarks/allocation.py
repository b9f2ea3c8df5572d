"""What freed memory costs that is given back to the system: bounds with glibc's own ways and with the program's.

    python -m benchmarks.allocation [--json FILE]

Each in processes of their own, on a network with random weights; prints medians per image and page faults.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time

import torch

from benchmarks.output import Row, write
from calipers.bounds import METHODS, WorkBudget
from calipers.cli.memory import keep_freed_memory
from calipers.core.problem import Specification
from calipers.core.threat import ThreatModel
from calipers.graph.from_torch import from_module
from calipers.models.loading import load_model

IMAGES = 50
METHODS_MEASURED = ("capm", "fused")


def measure(method: str) -> tuple[float, int]:
    """Seconds and page faults of one call, medians of five after one more."""
    model = load_model("capm.convmed")
    x = torch.rand(IMAGES, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    graph = from_module(model.module, x[:2])
    sets = ThreatModel("linf", 0.01, None, "normalised").for_model(model.std).around(x)
    specification = Specification.classified_as(model.module(x).argmax(1), 10)
    seconds, faults = [], []
    for _ in range(6):
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        with torch.no_grad():
            METHODS[method].margins(graph, sets, specification, WorkBudget())
        seconds.append(time.perf_counter() - start)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return statistics.median(seconds[1:]), round(statistics.median(faults[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        way, method = arguments.worker
        if way == "kept":
            keep_freed_memory()
        print(*measure(method))
        return
    rows = []
    for method in METHODS_MEASURED:
        for way in ("given back", "kept"):
            command = [sys.executable, "-m", "benchmarks.allocation", "--worker", way, method]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds, faults = (float(word) for word in done.stdout.split())
            rows.append(Row(f"{method}, freed memory {way}", seconds / IMAGES, IMAGES, "s/image"))
            rows.append(Row(f"{method}, freed memory {way}, page faults", faults, 1, "faults"))
    write("python -m benchmarks.allocation", rows, arguments.json)


if __name__ == "__main__":
    main()
