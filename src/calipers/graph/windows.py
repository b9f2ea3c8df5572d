"""Maxima over windows, convolutions in 3-d and linear maps given by their action, made of the basic operations."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from calipers.graph import compose, ops
from calipers.graph.assembly import Assembly, Position, Refusal

# The places along one dimension that a window looks at, for every window.
Windows = list[list[int]]

# Entries of a matrix, beyond which a linear map is refused (64 MiB of float32).
LARGEST = 2**24


def pool_windows(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> Windows:
    """The windows of torch's pools along one dimension, without padding. ceil: windows may reach over the end."""
    reach = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (reach + (stride - 1 if ceil else 0)) // stride + 1
    if ceil and (count - 1) * stride >= size + padding:
        count -= 1  # the last window has to start before the padding on the right
    starts = [i * stride - padding for i in range(count)]
    return [[p for p in range(s, s + dilation * kernel, dilation) if 0 <= p < size] for s in starts]


def adaptive_windows(size: int, count: int) -> Windows:
    """The windows of torch's adaptive pools: from floor(i size / count) to ceil((i + 1) size / count)."""
    return [list(range(i * size // count, -(-(i + 1) * size // count))) for i in range(count)]


def maxima(asm: Assembly, name: str, x: Position, windows: Sequence[Windows]) -> Position:
    """Maxima over the windows of every spatial dimension; x is (channels, *spatial).

    A short window repeats one of its own places, which changes no maximum.
    """
    shape = asm.shape(x)
    steps = [_regular(one) for one in windows]
    if len(shape) <= 3 and None not in steps:
        sizes = [step for step in steps if step is not None]
        used = [torch.arange(one[-1][-1] + 1) for one in windows]
        cropped = asm.rearrange(name, x, lambda v: _along(v, used))
        kernel, stride = ([size[i] for size in sizes] for i in (0, 1))
        return compose.conv(asm, name, cropped, ops.MaxPool2d(_two(kernel), _two(stride)))
    index = torch.zeros(1, 1, dtype=torch.long)
    for one, size in zip(windows, shape[1:], strict=True):
        longest = max(map(len, one))
        table = torch.tensor([window + window[:1] * (longest - len(window)) for window in one])
        index = (index[:, None, :, None] * size + table[None, :, None, :]).flatten(2).flatten(0, 1)
    pixels = index.shape[1]
    laid = asm.rearrange(name, x, lambda v: v.flatten(2)[:, :, index])
    most = asm.add(name, ops.MaxPool2d((1, pixels), (1, pixels)), laid)
    return asm.add(name, ops.Reshape((shape[0], *map(len, windows))), most)


def max_pool(
    asm: Assembly,
    name: str,
    x: Position,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Position:
    """Max pooling with windows that may reach over the end (ceil_mode=True); one entry per spatial dimension.

    The border repeats where a window reaches over it, and that window holds the border itself.
    """
    sizes = asm.shape(x)[1:]
    windows = [pool_windows(*one, True) for one in zip(sizes, kernel, stride, padding, dilation, strict=True)]
    if len(sizes) > 2 or any(d > 1 for d in dilation):
        return maxima(asm, name, x, windows)
    over = [
        max(0, s * (len(w) - 1) + k - 2 * p - n)
        for n, k, s, p, w in zip(sizes, kernel, stride, padding, windows, strict=True)
    ]
    places = [torch.arange(n + extra).clamp(max=n - 1) for n, extra in zip(sizes, over, strict=True)]
    longer = asm.rearrange(name, x, lambda v: _along(v, places))
    return compose.conv(asm, name, longer, ops.MaxPool2d(_two(kernel), _two(stride), _two(padding, 0)))


def extreme(asm: Assembly, name: str, x: Position, dims: Sequence[int], keep: bool, largest: bool) -> Position:
    """Maximum or minimum over dimensions (the batch is 0); a minimum is minus the maximum of minus x."""
    shape = asm.shape(x)
    over = sorted({d % (len(shape) + 1) for d in dims})
    if not over or over[0] == 0:
        raise Refusal("over the batch dimension")
    left = tuple(1 if d + 1 in over else s for d, s in enumerate(shape) if keep or d + 1 not in over)
    x = x if largest else compose.negate(asm, name, x)
    if over == list(range(2, len(shape) + 1)):
        most = maxima(asm, name, x, [[list(range(size))] for size in shape[1:]])
    else:
        others = [d for d in range(1, len(shape) + 1) if d not in over]
        count = int(torch.Size(shape[d - 1] for d in over).numel())
        rows = asm.rearrange(name, x, lambda v: v.permute(0, *others, *over).reshape(len(v), 1, -1, count))
        most = asm.add(name, ops.MaxPool2d((1, count), (1, count)), rows)
    most = asm.rearrange(name, most, lambda v: v.reshape(len(v), *left))
    return most if largest else compose.negate(asm, name, most)


def conv3d(
    asm: Assembly,
    name: str,
    x: Position,
    weight: Tensor,
    bias: Tensor,
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    groups: int,
) -> Position:
    """A convolution in 3-d as one in 2-d; x is (channels, depth, height, width), padding before and after each.

    The slices of depth that an output slice sees become channels, and output slices lie below each other, each so high
    that the convolution's steps begin anew; rows of outputs across two slices are dropped.
    """
    if len(asm.shape(x)) != 4:
        raise Refusal(f"of a value of shape {asm.shape(x)}")
    before, after = zip((0, 0), *padding, strict=True)
    if any(before) or any(after):
        x = asm.add(name, ops.Pad(before, after), x)
    channels, depth, height, width = asm.shape(x)
    count, rows = (
        (size - d * (k - 1) - 1) // s + 1
        for size, k, s, d in zip((depth, height), weight.shape[2:4], stride[:2], dilation[:2], strict=True)
    )
    if min(count, rows) < 1:
        raise Refusal(f"of a value of shape {(channels, depth, height, width)}, smaller than the kernel,")
    steps = -(-height // stride[1])
    slices = torch.arange(count) * stride[0] + dilation[0] * torch.arange(weight.shape[2])[:, None]
    tall = torch.arange(steps * stride[1]).clamp(max=height - 1)
    laid = asm.rearrange(name, x, lambda v: v[:, :, slices][..., tall, :].reshape(len(v), -1, count * len(tall), width))
    kernel = weight.reshape(len(weight), -1, *weight.shape[3:])
    op = ops.Conv2d(kernel, bias, _two(stride[1:]), (0, 0), _two(dilation[1:]), groups)
    found = asm.add(name, op, laid)
    kept = (torch.arange(count)[:, None] * steps + torch.arange(rows)).flatten()
    return asm.rearrange(name, found, lambda v: v[:, :, kept].unflatten(2, (count, rows)))


def linear_map(asm: Assembly, name: str, x: Position, function: Callable[[Tensor], Tensor], batch: int) -> Position:
    """What a linear function of every sample does, as the matrix of its action on unit vectors.

    function: float64 (batch, *shape) to (batch, *out). Raises Refusal for a matrix of more than `LARGEST` entries, and
    where samples mix.
    """
    shape = asm.shape(x)
    size = int(torch.Size(shape).numel())
    pair = torch.randn(batch, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    told = function(pair)
    out = tuple(told.shape[1:])
    _require_small(size, int(torch.Size(out).numel()))
    units = torch.eye(size, dtype=torch.float64)
    units = F.pad(units, (0, 0, 0, -size % batch)).reshape(-1, batch, *shape)
    matrix = torch.cat([function(unit) for unit in units]).flatten(1)[:size].T
    if len(told) != batch or not torch.allclose(pair.flatten(1) @ matrix.T, told.flatten(1)):
        raise Refusal("that mixes samples of the batch")
    flat = asm.add(name, ops.Reshape((size,)), x)
    weight = matrix.to(torch.get_default_dtype())
    found = asm.add(name, ops.Linear(weight, torch.zeros(len(weight))), flat)
    return asm.add(name, ops.Reshape(out), found)


def channel_map(asm: Assembly, name: str, x: Position, function: Callable[[Tensor], Tensor]) -> Position:
    """The same for a function that does one thing to every channel: float64 (batch, channels, *spatial) to the like."""
    channels, *spatial = asm.shape(x)
    size = int(torch.Size(spatial).numel())
    out = tuple(function(torch.zeros(1, 1, *spatial, dtype=torch.float64)).shape[2:])
    _require_small(size, int(torch.Size(out).numel()))
    matrix = function(torch.eye(size, dtype=torch.float64).reshape(size, 1, *spatial)).reshape(size, -1).T
    weight = matrix.to(torch.get_default_dtype()).contiguous()
    flat = asm.add(name, ops.Reshape((channels, size)), x)
    found = compose.linear(asm, name, flat, weight, torch.zeros(len(weight)))
    return asm.add(name, ops.Reshape((channels, *out)), found)


def _require_small(size: int, out: int) -> None:
    if size * out > LARGEST:
        raise Refusal(f"from {size} to {out} values, a matrix of more than {LARGEST} entries,")


def _regular(windows: Windows) -> tuple[int, int] | None:
    """Kernel and stride of windows that a pool without padding has; None for others."""
    kernel = len(windows[0])
    stride = windows[1][0] if len(windows) > 1 else kernel
    plain = [list(range(i * stride, i * stride + kernel)) for i in range(len(windows))]
    return (kernel, stride) if windows == plain and stride > 0 else None


def _along(values: Tensor, places: Sequence[Tensor]) -> Tensor:
    """Chosen places of the last dimensions."""
    for dim, chosen in enumerate(reversed(places), start=1):
        values = values.index_select(values.dim() - dim, chosen)
    return values


def _two(numbers: Sequence[int], neutral: int = 1) -> ops.Pair:
    """Two numbers; one alone belongs to the second dimension of a map of height 1."""
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (neutral, numbers[0])
