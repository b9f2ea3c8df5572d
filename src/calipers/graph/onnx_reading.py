"""Ways to read the input of an ONNX model as samples: with a batch in front, or whole."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from calipers.core.errors import ModelError
from calipers.graph.onnx_file import first_line


@dataclass(frozen=True)
class Reading:
    """The input of a model is `batch` samples of `shape`, the batch in front, or one sample alone.

    open: the model takes any number of samples; `batch` serves for what is worked out beforehand.
    """

    shape: tuple[int, ...]
    batch: int = 1
    batched: bool = True
    open: bool = False

    @property
    def full(self) -> tuple[int, ...]:
        """The shape of the model's input."""
        return (self.batch, *self.shape) if self.batched else self.shape


def readings(sizes: tuple[int, ...] | None, count: int | None) -> list[Reading]:
    """Readings of a declared shape (0: left open), the likeliest first.

    count: the entries of a sample, if they are known. Raises ModelError where the shape leaves too much open.
    """
    if sizes is None:
        if count is None:
            raise ModelError("model: its input declares no shape; accepted: a shape with sizes, the batch may be open")
        sizes = (0, 0)
    said = f"input shape [{', '.join(str(size or '?') for size in sizes)}]"
    first, *rest = sizes or (1,)
    if not rest:
        size = first or count
        if not size:
            raise ModelError(f"model: {said} leaves its only dimension open; accepted: a shape with sizes")
        return [Reading((size,) if sizes else (), batched=False)]
    if rest.count(0) == 1 and count is not None and count % math.prod(filter(None, rest)) == 0:
        rest[rest.index(0)] = count // math.prod(filter(None, rest))
    if not all(rest):
        raise ModelError(
            f"model: {said} leaves dimension {rest.index(0) + 1} open; only the batch, dimension 0, may be"
        )
    sample = tuple(rest)
    if not first:
        return [Reading(sample, 2, open=True), Reading(sample)]
    if first == 1:
        return [Reading(sample)]
    ways = [Reading(sample, first), Reading((first, *sample), batched=False)]
    return ways[::-1] if count == math.prod(ways[1].shape) else ways


def runner(
    session: onnxruntime.InferenceSession, reading: Reading, shape: tuple[int, ...]
) -> Callable[[Tensor], Tensor]:
    """What onnxruntime makes of samples, in single precision, as (samples, *shape); at the batch that the model fixes.

    The function raises ModelError where onnxruntime fails or returns another number of entries.
    """
    given = session.get_inputs()[0]
    kind = np.float64 if given.type == "tensor(double)" else np.float32

    def call(batch: Tensor) -> Tensor:
        try:
            (found,) = session.run(None, {given.name: batch.numpy().astype(kind)})
        except Exception as error:  # onnxruntime's errors share no other base
            raise ModelError(
                f"model: onnxruntime fails on an input {tuple(batch.shape)} ({first_line(error)})"
            ) from error
        return torch.from_numpy(np.asarray(found)).to(torch.float32)

    def run(x: Tensor) -> Tensor:
        if reading.open:
            found = call(x)
        else:
            missing = -len(x) % reading.batch
            filled = torch.cat([x, x[-1:].expand(missing, *x.shape[1:])])
            calls = [call(part.reshape(reading.full)) for part in filled.split(reading.batch)]
            found = torch.stack([part.reshape(-1) for part in calls])
        samples = len(x) if reading.open else len(filled)
        size = math.prod(shape)
        if found.numel() != samples * size:
            raise ModelError(f"model: onnxruntime makes {found.numel()} values of {samples} samples, not {size} each")
        return found.reshape(samples, *shape)[: len(x)]

    return run
