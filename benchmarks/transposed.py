"""Transposed convolutions of many small maps: the library, one dense matrix, bands of columns, and subpixels.

    python -m benchmarks.transposed [--json FILE]

Billions of multiplications per second that the convolution needs, medians, channels last in memory. The limits in
bounds/propagation/transpose.py are where one way overtakes the next; `chosen` is what it takes.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.output import Row, write
from calipers.bounds.propagation import transpose
from calipers.graph import ops

# A dense matrix of so many entries is not worth its memory.
_LARGEST = 2 * 10**6


def rate(way: Callable[[ops.Conv2d, Tensor], Tensor], op: ops.Conv2d, maps: Tensor) -> float:
    times = []
    for _ in range(7):
        start = time.perf_counter()
        way(op, maps)
        times.append(time.perf_counter() - start)
    places = maps.numel() // maps.shape[1]
    return places * op.weight.numel() / statistics.median(times) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    rows = []
    for outputs in (1, 3, 16):
        for kernel, stride in ((4, 2), (3, 1), (2, 1)):
            for size in (1, 2, 3, 4, 5, 8, 14, 24):
                maps = torch.randn(max(20, int(2e6 / (16 * size * size))), 16, size, size)
                maps = maps.contiguous(memory_format=torch.channels_last)
                op = ops.Conv2d(torch.randn(16, outputs, kernel, kernel), torch.zeros(16), (stride, stride))
                ways = [transpose.library, transpose.bands, transpose.subpixels, transpose.transpose]
                if maps[0].numel() * outputs * (size * stride + kernel) ** 2 < _LARGEST:
                    ways.insert(1, transpose.dense)
                for way in ways:
                    name = "chosen" if way is transpose.transpose else way.__name__
                    what = f"into {outputs} channels, kernel {kernel}, stride {stride}, map {size}: {name}"
                    rows.append(Row(what, rate(way, op, maps), len(maps), "1e9 multiplications/s"))
    write("python -m benchmarks.transposed", rows, arguments.json)


if __name__ == "__main__":
    main()
