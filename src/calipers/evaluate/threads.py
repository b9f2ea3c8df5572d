"""How many threads a piece of work is worth.

Threads wait for each other after every operation. On small networks that takes longer than the operation, and many
times longer beside other busy processes, where a thread that is waited for is not even running
(benchmarks/contention.py).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from calipers.core.records import Kind
from calipers.evaluate.plan import Unit
from calipers.evaluate.subject import Subject

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


def worth(multiplications: float, available: int) -> int:
    """The number of threads out of those available."""
    return max(1, int(min(available, multiplications / _PER_THREAD)))


def work_of(unit: Unit, subject: Subject, multiplications: float) -> float:
    """Multiplications of one call in a unit. multiplications: of one image's way through the network.

    Attacks and predictions pass images through the network; verifiers pass a functional for every value of a layer.
    """
    if unit.kind is not Kind.VERIFY or subject.graph is None:
        return multiplications * unit.count
    widest = max(math.prod(node.shape) for node in subject.graph.nodes)
    return multiplications * unit.count * widest


def multiplications_of(model: nn.Module, image: Tensor) -> float:
    """Those of convolutions and matrix products on `image` (1, *shape); nearly all of a network's.

    A model that cannot be watched counts as large without bound: its threads stay as they are.
    """
    counting = _Counting()
    try:
        with torch.no_grad(), counting:
            model(image)
    except (RuntimeError, NotImplementedError, TypeError):
        return math.inf
    return counting.total


class _Counting(TorchDispatchMode):
    """Counts the multiplications of the operations that run while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.total += _multiplications(func.overloadpacket.__name__, args, result)
        return result


def _multiplications(name: str, args: Any, result: Any) -> float:
    tensors = [one for one in args if isinstance(one, Tensor)]
    if "convolution" in name and len(tensors) > 1:
        # Every weight meets every place of one channel: of the result, or of the input where it is transposed.
        transposed = bool(args[6]) if len(args) > 6 else False
        places = (tensors[0] if transposed else result)[:, 0].numel()
        return float(places * tensors[1].numel())
    if name in ("mm", "addmm", "bmm", "baddbmm", "mv", "linear") and len(tensors) > 1:
        return float(result.numel() * tensors[-2].shape[-1])
    return 0.0
