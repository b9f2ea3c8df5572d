"""Affine operators of ONNX by their own matrix: what onnxruntime makes of every unit vector."""

import math

import numpy as np
import onnx
import torch

from calipers.core.errors import ModelError
from calipers.graph import compose, ops
from calipers.graph.assembly import Position, Refusal
from calipers.graph.onnx_file import first_line, open_session
from calipers.graph.onnx_walk import OnnxWalk, Whole, require

# Entries of a matrix, 32 MiB in single precision, and of a sample, each of which is tried.
_MOST, _MOST_TRIED = 2**23, 2**13


def planar_map(walk: OnnxWalk, node: onnx.NodeProto) -> Position:
    """An affine operator that does the same to every channel: interpolation. Raises Refusal where it is too large."""
    source = node.input[0]
    x = walk.input(source)
    channels, *size = walk.asm.shape(x)
    count = math.prod(size)
    operator = Operator(walk, node, source)
    zero = operator(np.zeros((walk.batch, channels, *size), np.float32))
    require(zero.shape[:2] == (walk.batch, channels), "over the batch or the channels")
    made = zero.shape[2:]
    _require_small(count, math.prod(made))
    # Every sample and channel of a run takes another unit vector.
    slots = walk.batch * channels
    columns = []
    for start in range(0, count, slots):
        given = np.eye(slots, count, start, dtype=np.float32)
        columns.append(operator(given.reshape(walk.batch, channels, *size)).reshape(slots, -1))
    bias = zero.reshape(slots, -1)[0]
    weight = torch.from_numpy(np.concatenate(columns)[:count] - bias).T.contiguous()
    name, asm = walk.name(node), walk.asm
    flat = asm.rearrange(name, x, lambda v: v.reshape(len(v), channels, count))
    mapped = compose.linear(asm, name, flat, weight, torch.from_numpy(bias))
    return asm.rearrange(name, mapped, lambda v: v.reshape(len(v), channels, *made))


def linear_map(walk: OnnxWalk, node: onnx.NodeProto, source: str) -> Position | Whole:
    """An affine operator of one computed operand. Raises Refusal where it is too large or mixes samples."""
    full = walk.full(source)
    samples = walk.batch
    count = math.prod(full) // samples
    operator = Operator(walk, node, source)
    zero = operator(np.zeros(full, np.float32))
    require(samples == 1 or (zero.ndim > 0 and len(zero) == samples), "that mixes or drops samples of the batch")
    _require_small(count, zero.size // samples)
    rows = []
    for i in range(count):
        given = np.zeros((samples, count), np.float32)
        given[0, i] = 1
        moved = (operator(given.reshape(full)) - zero).reshape(samples, -1)
        require(not moved[1:].any(), "that mixes samples of the batch")
        rows.append(moved[0])
    name, asm = walk.name(node), walk.asm
    position = walk.position[source]
    flat = asm.rearrange(name, position, lambda v: v.reshape(len(v), count))
    weight = torch.from_numpy(np.stack(rows)).T.contiguous()
    mapped = asm.add(name, ops.Linear(weight, torch.from_numpy(zero.reshape(samples, -1)[0].copy())), flat)
    batched = source not in walk.whole and zero.ndim > 1 and len(zero) == samples
    made = zero.shape[1:] if batched else zero.shape
    found = asm.rearrange(name, mapped, lambda v: v.reshape(len(v), *made))
    return found if batched else Whole(found)


class Operator:
    """One operator as a function of one operand, by onnxruntime."""

    def __init__(self, walk: OnnxWalk, node: onnx.NodeProto, source: str) -> None:
        feeds = {name: walk.constant[name] for name in node.input if name and name != source}
        zeros = np.zeros(walk.full(source), np.float32)
        # What is real is in single precision here, whatever the model says.
        self.feeds = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in feeds.items()}
        self.source = source
        model = walk.alone(node, {**self.feeds, source: zeros})
        try:
            self.session = open_session(model)
        except ModelError as error:
            raise Refusal(f"({error})") from error

    def __call__(self, x: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(self.session.run(None, {**self.feeds, self.source: x})[0])
        except Exception as error:
            raise Refusal(f"that onnxruntime fails to do ({first_line(error)})") from error


def _require_small(inputs: int, outputs: int) -> None:
    if inputs * outputs > _MOST or inputs > _MOST_TRIED:
        raise Refusal(f"of {inputs} by {outputs} entries (supported up to {_MOST_TRIED}, and a product of {_MOST})")
