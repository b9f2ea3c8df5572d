"""How many threads a piece of work is worth.

Threads wait for each other after every operation. On small networks that takes longer than the operation, and many
times longer beside other busy processes, where a thread that is waited for is not even running
(benchmarks/contention.py).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from calipers.models.hooks import watching

# Multiplications that are worth a thread of their own: some milliseconds, where waiting for a thread takes fewer.
_PER_THREAD = 5e7


@contextmanager
def threads_for(multiplications: float) -> Iterator[None]:
    """As many of torch's threads as one call with so many multiplications is worth; then as many as before.

    There are never more than the caller set, and at least one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(worth(multiplications, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def at_most(threads: int | None) -> Iterator[None]:
    """No more of torch's threads than these, then as many as before; None: as they are."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(min(threads, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def worth(multiplications: float, available: int) -> int:
    """The number of threads out of those available."""
    return max(1, int(min(available, multiplications / _PER_THREAD)))


def multiplications_of(model: nn.Module, image: Tensor) -> float:
    """Those of the convolutions and dense layers on `image` (1, *shape); nearly all of a network's.

    A model without such layers of torch counts as large without bound: its threads stay as they are.
    """
    counts: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        assert isinstance(output, Tensor)
        if isinstance(layer, nn.Linear):
            counts.append(output.numel() * weight.shape[1])
        else:  # every weight meets every place of one channel: of the result, or of the input where it is transposed
            places = inputs[0] if getattr(layer, "transposed", False) else output
            counts.append(places.select(1, 0).numel() * weight.numel())

    layers = [layer for layer in model.modules() if isinstance(layer, (nn.Linear, nn.modules.conv._ConvNd))]
    with torch.no_grad(), watching(dict.fromkeys(layers, count)):
        model(image)
    return float(sum(counts)) if counts else math.inf
