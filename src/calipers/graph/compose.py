"""Operations made of others, exactly. Relaxations, splits and checkers need to know the few basic ones only."""

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
    weight, bias = (t.reshape(*([1] * (len(full) - t.dim())), *t.shape) for t in (weight, bias))
    return asm.add(name, ops.Scale(weight, bias), _expand(asm, name, x, full))


def add(asm: Assembly, name: str, a: Position, b: Position) -> Position:
    """Sum of two values, broadcast against each other."""
    full = tuple(torch.broadcast_shapes(asm.shape(a), asm.shape(b)))
    return asm.add(name, ops.Add(), _expand(asm, name, a, full), _expand(asm, name, b, full))


def negate(asm: Assembly, name: str, x: Position) -> Position:
    """-x."""
    return scale(asm, name, x, torch.tensor(-1.0), torch.tensor(0.0))


def subtract(asm: Assembly, name: str, a: Position, b: Position) -> Position:
    """A - b."""
    return add(asm, name, a, negate(asm, name, b))


def maximum(asm: Assembly, name: str, a: Position, b: Position) -> Position:
    """max(a, b) = a + relu(b - a)."""
    return add(asm, name, a, asm.add(name, ops.Relu(), subtract(asm, name, b, a)))


def minimum(asm: Assembly, name: str, a: Position, b: Position) -> Position:
    """min(a, b) = a - relu(a - b)."""
    return subtract(asm, name, a, asm.add(name, ops.Relu(), subtract(asm, name, a, b)))


def clamp(asm: Assembly, name: str, x: Position, low: Tensor | None, high: Tensor | None) -> Position:
    """min(max(x, low), high), either side open."""
    one = torch.tensor(1.0)
    if low is not None:
        x = scale(asm, name, asm.add(name, ops.Relu(), scale(asm, name, x, one, -low)), one, low)
    if high is not None:
        x = scale(asm, name, asm.add(name, ops.Relu(), scale(asm, name, x, -one, high)), -one, high)
    return x


def leaky_relu(asm: Assembly, name: str, x: Position, slope: Tensor) -> Position:
    """Slope * x + (1 - slope) * relu(x): x above 0 and slope * x below, for slopes of any sign and size."""
    zero = torch.tensor(0.0)
    bent = scale(asm, name, asm.add(name, ops.Relu(), x), 1 - slope, zero)
    return add(asm, name, scale(asm, name, x, slope, zero), bent)


def absolute(asm: Assembly, name: str, x: Position) -> Position:
    """|x| = 2 relu(x) - x."""
    return leaky_relu(asm, name, x, torch.tensor(-1.0))


def tanh(asm: Assembly, name: str, x: Position) -> Position:
    """2 sigmoid(2 x) - 1."""
    two, zero = torch.tensor(2.0), torch.tensor(0.0)
    return scale(asm, name, asm.add(name, ops.Sigmoid(), scale(asm, name, x, two, zero)), two, torch.tensor(-1.0))


def softplus(asm: Assembly, name: str, x: Position, beta: float) -> Position:
    """log(1 + exp(beta x)) / beta."""
    if beta <= 0:
        raise Refusal(f"with beta={beta:g}, which is not positive,")
    zero = torch.tensor(0.0)
    inner = scale(asm, name, x, torch.tensor(beta), zero) if beta != 1 else x
    outer = asm.add(name, ops.Softplus(), inner)
    return scale(asm, name, outer, torch.tensor(1 / beta), zero) if beta != 1 else outer


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
    share = 1 / (divisor or kernel[0] * kernel[1])
    weight = torch.full((shape[0], 1, *kernel), share)
    op = ops.Conv2d(weight, torch.zeros(shape[0]), stride, padding, groups=shape[0])
    pooled = conv(asm, name, x, op)
    if count_padding or divisor is not None or padding == (0, 0):
        return pooled
    size = shape[1:] if len(shape) == 3 else (1, shape[1])
    one = ops.Conv2d(torch.full((1, 1, *kernel), share), torch.zeros(1), stride, padding)
    inside = one.evaluate(torch.ones(1, 1, *size)).reshape(1, *asm.shape(pooled)[1:])
    return scale(asm, name, pooled, 1 / inside, torch.tensor(0.0))


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
        weight = torch.full((1, count, 1, 1), 1 / count if mean else 1.0)
        found = asm.add(name, ops.Conv2d(weight, torch.zeros(1)), first)
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
