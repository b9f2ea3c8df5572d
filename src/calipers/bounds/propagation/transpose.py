"""Transposed convolutions of many small maps: the library's is far from the machine's speed on some of them.

Maps are (maps, channels, h, w), fastest where channels lie last in memory; benchmarks/transposed.py compares the ways.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from calipers.graph import ops

# Into so few channels (images) the library is slow.
_FEW = 4
# Places of a map that one matrix of `dense` takes, and columns that one of `bands` takes: all of a narrow map's, of
# wider maps so many at a time.
_SMALL = 16
_NARROW = 8
_BAND = 6


def transpose(op: ops.Conv2d, maps: Tensor) -> Tensor:
    """What coefficients of a convolution's outputs say of its inputs, padding included."""
    height, width = maps.shape[2:]
    outputs = op.weight.shape[1]
    if op.groups > 1 or op.dilation != (1, 1):
        return library(op, maps)
    if height * width <= (_SMALL if outputs <= _FEW else 1):
        return dense(op, maps)
    if (outputs <= _FEW and width <= _NARROW) or outputs == op.stride[1] == 1:
        return bands(op, maps)
    return subpixels(op, maps) if outputs <= _FEW and op.stride[1] > 1 else library(op, maps)


def library(op: ops.Conv2d, maps: Tensor) -> Tensor:
    """Any convolution."""
    return F.conv_transpose2d(maps, op.weight, None, op.stride, groups=op.groups, dilation=op.dilation)


def dense(op: ops.Conv2d, maps: Tensor) -> Tensor:
    """The whole map by one matrix; without dilation and groups."""
    count, channels, height, width = maps.shape
    outputs, *kernel = op.weight.shape[1:]
    size = [(maps.shape[2 + i] - 1) * op.stride[i] + kernel[i] for i in (0, 1)]
    matrix = op.weight.new_zeros(height, width, channels, *size, outputs)
    for y in range(height):
        for x in range(width):
            down, right = y * op.stride[0], x * op.stride[1]
            place = matrix[y, x, :, down : down + kernel[0], right : right + kernel[1]]
            place.copy_(op.weight.permute(0, 2, 3, 1))
    flat = maps.permute(0, 2, 3, 1).reshape(count, -1)
    return (flat @ matrix.reshape(flat.shape[1], -1)).unflatten(1, (*size, outputs)).permute(0, 3, 1, 2)


def bands(op: ops.Conv2d, maps: Tensor) -> Tensor:
    """A few columns of a row at a time by one matrix, and its rows added up; without dilation and groups."""
    count, channels, height, width = maps.shape
    outputs, kernel_height, kernel_width = op.weight.shape[1:]
    step_down, step_right = op.stride
    columns = width if width <= _NARROW else _BAND
    number = -(-width // columns)
    reach = (columns - 1) * step_right + kernel_width
    matrix = op.weight.new_zeros(columns, channels, kernel_height, reach, outputs)
    for x in range(columns):
        right = x * step_right
        matrix[x, :, :, right : right + kernel_width].copy_(op.weight.permute(0, 2, 3, 1))
    rows, missing = maps.permute(0, 2, 3, 1), number * columns - width
    rows = F.pad(rows, (0, 0, 0, missing)) if missing else rows
    parts = rows.reshape(count * height * number, -1) @ matrix.reshape(columns * channels, -1)
    parts = parts.reshape(count, height, number, kernel_height, reach * outputs)
    across = (number * columns - 1) * step_right + kernel_width
    found = maps.new_zeros(count, (height - 1) * step_down + kernel_height, across * outputs)
    for down in range(kernel_height):
        here = slice(down, down + step_down * (height - 1) + 1, step_down)
        for band in range(number):
            start = band * columns * step_right * outputs
            found[:, here, start : start + reach * outputs].add_(parts[:, :, band, down])
    wanted = (width - 1) * step_right + kernel_width
    return found[..., : wanted * outputs].unflatten(2, (wanted, outputs)).permute(0, 3, 1, 2)


def subpixels(op: ops.Conv2d, maps: Tensor) -> Tensor:
    """As many convolutions as a step has places, side by side (Shi et al. 2016); without dilation and groups."""
    channels, outputs, *kernel = op.weight.shape
    down, right = op.stride
    high, wide = -(-kernel[0] // down), -(-kernel[1] // right)
    weight = F.pad(op.weight, (0, wide * right - kernel[1], 0, high * down - kernel[0]))
    weight = weight.reshape(channels, outputs, high, down, wide, right).permute(1, 3, 5, 0, 2, 4)
    weight = weight.flip(4, 5).reshape(-1, channels, high, wide).contiguous(memory_format=torch.channels_last)
    mixed = F.conv2d(maps, weight, padding=(high - 1, wide - 1)).unflatten(1, (outputs, down, right))
    apart = mixed.permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)
    size = [(maps.shape[2 + i] - 1) * op.stride[i] + kernel[i] for i in (0, 1)]
    return apart[..., : size[0], : size[1]]
