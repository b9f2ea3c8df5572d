"""Operations made of others, which compute in floating point what the original computes, but for the order of sums."""

from collections.abc import Sequence

import torch
from torch import Tensor

from calipers.graph import ops
from calipers.graph.assembly import Assembly, Position, Refusal
from calipers.graph.ops import Pair


def scale(asm: Assembly, name: str, x: Position, weight: Tensor, bias: Tensor) -> Position:
    """Weight * x + bias, all three broadcast against each other."""
    shape = asm.shape(x)
    full = tuple(torch.broadcast_shapes(weight.shape, bias.shape, shape))
    product = asm.nodes[x].op
    if isinstance(product, ops.Linear) and full == shape and bool((weight == 1).all()) and not bool(product.bias.any()):
        # A product of matrices and what is added to it are one sum.
        return asm.add(name, ops.Linear(product.weight, bias.expand(shape)), *asm.nodes[x].inputs)
    weight, bias = (t.reshape((1,) * (len(full) - t.dim()) + t.shape) for t in (weight, bias))
    return asm.add(name, ops.Scale(weight, bias), _expand(asm, name, x, full))


def add(asm: Assembly, name: str, a: Position, b: Position) -> Position:
    """Sum of two values, broadcast against each other."""
    full = tuple(torch.broadcast_shapes(asm.shape(a), asm.shape(b)))
    return asm.add(name, ops.Add(), _expand(asm, name, a, full), _expand(asm, name, b, full))


def divide(asm: Assembly, name: str, x: Position, divisor: Tensor) -> Position:
    """X / divisor, broadcast against each other."""
    shape = asm.shape(x)
    full = tuple(torch.broadcast_shapes(divisor.shape, shape))
    divisor = divisor.reshape((1,) * (len(full) - divisor.dim()) + divisor.shape)
    return asm.add(name, ops.Divide(divisor), _expand(asm, name, x, full))


def negate(asm: Assembly, name: str, x: Position) -> Position:
    """-x."""
    return scale(asm, name, x, torch.tensor(-1.0), torch.tensor(0.0))


def subtract(asm: Assembly, name: str, a: Position, b: Position) -> Position:
    """A - b, which is a + (-b) in floating point too."""
    return add(asm, name, a, negate(asm, name, b))


def maximum(asm: Assembly, name: str, a: Position, b: Position) -> Position:
    """The larger of two values, broadcast against each other: a pool over one laid below the other."""
    shape = tuple(torch.broadcast_shapes(asm.shape(a), asm.shape(b)))
    a, b = _expand(asm, name, a, shape), _expand(asm, name, b, shape)
    channels, height, width = shape if len(shape) == 3 else (1, int(torch.Size(shape).numel()), 1)
    parts = [asm.rearrange(name, v, lambda x: x.reshape(len(x), channels, height, width)) for v in (a, b)]
    pool = ops.MaxPool2d((2, 1), (1, 1), dilation=(height, 1))
    larger = asm.add(name, pool, asm.add(name, ops.Concat(1), *parts))
    return asm.rearrange(name, larger, lambda x: x.reshape(len(x), *shape))


def minimum(asm: Assembly, name: str, a: Position, b: Position) -> Position:
    """min(a, b) = -max(-a, -b), which is exact in floating point."""
    return negate(asm, name, maximum(asm, name, negate(asm, name, a), negate(asm, name, b)))


def clamp(asm: Assembly, name: str, x: Position, low: Tensor | None, high: Tensor | None) -> Position:
    """min(max(x, low), high), either side open; all three broadcast against each other."""
    low = torch.tensor(-torch.inf) if low is None else low
    high = torch.tensor(torch.inf) if high is None else high
    full = tuple(torch.broadcast_shapes(low.shape, high.shape, asm.shape(x)))
    low, high = (side.to(torch.get_default_dtype()).expand(full) for side in (low, high))
    if bool(((low == 0) & (high == torch.inf)).all()):
        return asm.add(name, ops.Relu(), _expand(asm, name, x, full))
    if bool(((low == -torch.inf) & (high == torch.inf)).all()):
        return _expand(asm, name, x, full)
    return asm.add(name, ops.Clamp(low, high), _expand(asm, name, x, full))


def hard_sigmoid(asm: Assembly, name: str, x: Position, slope: float, shift: float) -> Position:
    """min(max(slope * x + shift, 0), 1)."""
    line = scale(asm, name, x, torch.tensor(slope), torch.tensor(shift))
    return clamp(asm, name, line, torch.tensor(0.0), torch.tensor(1.0))


def leaky_relu(asm: Assembly, name: str, x: Position, slope: Tensor) -> Position:
    """X above 0 and slope * x below, for slopes of any sign and size that broadcast over x."""
    return asm.add(name, ops.LeakyRelu(slope.expand(asm.shape(x))), x)


def batch_norm(asm: Assembly, name: str, x: Position, op: ops.BatchNorm) -> Position:
    """Normalisation of every channel by fixed statistics."""
    return asm.add(name, op, x)


def softplus(asm: Assembly, name: str, x: Position, beta: float, threshold: float) -> Position:
    """log(1 + exp(beta x)) / beta, and x beyond the threshold."""
    if beta <= 0:
        raise Refusal(f"with beta={beta:g}, which is not positive,")
    return asm.add(name, ops.Softplus(beta, threshold), x)


def linear(asm: Assembly, name: str, x: Position, weight: Tensor, bias: Tensor) -> Position:
    """Weight x + bias along the last dimension; weight is (out, in)."""
    shape = asm.shape(x)
    if len(shape) == 1:
        return asm.add(name, ops.Linear(weight, bias), x)
    rest = int(torch.Size(shape[:-1]).numel())
    first = asm.rearrange(name, x, lambda v: v.movedim(-1, 1).reshape(len(v), shape[-1], rest, 1))
    mixed = asm.add(name, ops.Conv2d(weight[:, :, None, None], bias), first)
    return asm.rearrange(name, mixed, lambda v: v.reshape(len(v), -1, *shape[:-1]).movedim(1, -1))


def conv(asm: Assembly, name: str, x: Position, op: ops.Conv2d | ops.ConvTranspose2d | ops.MaxPool2d) -> Position:
    """A 2-d operation on a feature map; a sequence (channels, length) is a map of height 1."""
    shape = asm.shape(x)
    if len(shape) == 3:
        return asm.add(name, op, x)
    if len(shape) != 2:
        raise Refusal(f"of a value of shape {shape}")
    channels, length = shape
    flat = asm.add(name, op, asm.add(name, ops.Reshape((channels, 1, length)), x))
    channels, _, length = asm.shape(flat)
    return asm.add(name, ops.Reshape((channels, length)), flat)


def padded(asm: Assembly, name: str, x: Position, before: Sequence[int], after: Sequence[int]) -> tuple[Position, Pair]:
    """The value and the even padding that an operation with uneven zero padding sees; spatial dimensions only."""
    if list(before) == list(after):
        return x, _pair(before)
    channels = [0] * (len(asm.shape(x)) - len(before))
    return asm.add(name, ops.Pad((*channels, *before), (*channels, *after)), x), (0, 0)


def average_pool(
    asm: Assembly,
    name: str,
    x: Position,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    count_padding: bool,
    divisor: int | None = None,
) -> Position:
    """A mean over windows as a depthwise convolution; windows that exclude padding are rescaled afterwards."""
    shape = asm.shape(x)
    if len(shape) == 2:
        kernel, stride, padding = (1, kernel[-1]), (1, stride[-1]), (0, padding[-1])
    op = ops.Conv2d(torch.ones(shape[0], 1, *kernel), torch.zeros(shape[0]), stride, padding, groups=shape[0])
    total = conv(asm, name, x, op)
    if count_padding or divisor is not None or padding == (0, 0):
        return divide(asm, name, total, torch.tensor(float(divisor or kernel[0] * kernel[1])))
    size = shape[1:] if len(shape) == 3 else (1, shape[1])
    one = ops.Conv2d(torch.ones(1, 1, *kernel), torch.zeros(1), stride, padding)
    inside = one.evaluate(torch.ones(1, 1, *size)).reshape(1, *asm.shape(total)[1:])
    return divide(asm, name, total, inside)


def adaptive_average_pool(asm: Assembly, name: str, x: Position, size: Sequence[int | None]) -> Position:
    """Means over a grid of equal windows."""
    spatial = asm.shape(x)[1:]
    target = [s if t is None else t for s, t in zip(spatial, size, strict=True)]
    if any(s % t for s, t in zip(spatial, target, strict=True)):
        raise Refusal(f"to {tuple(target)}, which does not divide {tuple(spatial)},")
    kernel = _pair([s // t for s, t in zip(spatial, target, strict=True)])
    return average_pool(asm, name, x, kernel, kernel, (0, 0), True)


def reduce(asm: Assembly, name: str, x: Position, dims: Sequence[int], keep: bool, mean: bool) -> Position:
    """Mean or sum over dimensions (the batch is 0)."""
    shape = asm.shape(x)
    over = sorted({d % (len(shape) + 1) for d in dims})
    if not over or over[0] == 0:
        raise Refusal("over the batch dimension")
    count = int(torch.Size(shape[d - 1] for d in over).numel())
    left = tuple(1 if d + 1 in over else s for d, s in enumerate(shape) if keep or d + 1 not in over)
    if len(shape) == 3 and over == [2, 3]:
        divisor = count if mean else 1
        found = average_pool(asm, name, x, _pair(shape[1:]), (1, 1), (0, 0), True, divisor)
    else:
        others = [d for d in range(1, len(shape) + 1) if d not in over]
        first = asm.rearrange(name, x, lambda v: v.permute(0, *over, *others).reshape(len(v), count, -1, 1))
        found = asm.add(name, ops.Conv2d(torch.ones(1, count, 1, 1), torch.zeros(1)), first)
        if mean:
            found = divide(asm, name, found, torch.tensor(float(count)))
    return asm.rearrange(name, found, lambda v: v.reshape(len(v), *left))


def _expand(asm: Assembly, name: str, x: Position, full: tuple[int, ...]) -> Position:
    shape = asm.shape(x)
    if shape == full:
        return x
    ones = [1] * (len(full) - len(shape))
    return asm.rearrange(name, x, lambda v: v.reshape(len(v), *ones, *shape).expand(len(v), *full))


def _pair(values: Sequence[int]) -> Pair:
    """Two numbers, or one that belongs to the second dimension of a map of height 1."""
    return (values[0], values[1]) if len(values) == 2 else (0, values[0])
