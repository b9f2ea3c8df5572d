"""Transposed convolutions into one channel: the library, one dense matrix, and patches that are added up.

    python -m benchmarks.transposed [--json FILE]

Microseconds per window, medians; `_SMALL_WINDOW` of bounds/backward.py is where the dense matrix stops being fastest.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.output import Row, write


def dense(weight: Tensor, windows: Tensor, stride: int) -> Tensor:
    shape = windows.shape[1:]
    matrix = F.conv_transpose2d(torch.eye(shape.numel()).unflatten(1, shape), weight, stride=stride)
    return (windows.flatten(1) @ matrix.flatten(1)).unflatten(1, matrix.shape[1:])


def patches(weight: Tensor, windows: Tensor, stride: int) -> Tensor:
    kernel = weight.shape[2:]
    size = [(windows.shape[2 + i] - 1) * stride + kernel[i] for i in (0, 1)]
    return F.fold(weight.flatten(1).T @ windows.flatten(2), size, kernel, stride=stride)


def library(weight: Tensor, windows: Tensor, stride: int) -> Tensor:
    return F.conv_transpose2d(windows, weight, stride=stride)


def microseconds(work: Callable[[Tensor, Tensor, int], Tensor], weight: Tensor, windows: Tensor, stride: int) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        work(weight, windows, stride)
        times.append(time.perf_counter() - start)
    return statistics.median(times) / len(windows) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    rows = []
    for channels, kernel, stride in ((32, 3, 1), (16, 4, 2), (16, 2, 1)):
        for size in (3, 4, 5, 8, 12, 16, 22):
            windows = torch.randn(max(8, int(2e7 / (channels * size * size * 4))), channels, size, size)
            weight = torch.randn(channels, 1, kernel, kernel)
            for work in (library, dense, patches):
                what = f"{channels} channels, kernel {kernel}, stride {stride}, window {size}: {work.__name__}"
                rows.append(Row(what, microseconds(work, weight, windows, stride), len(windows), "us/window"))
    write("python -m benchmarks.transposed", rows, parser.parse_args().json)


if __name__ == "__main__":
    main()
