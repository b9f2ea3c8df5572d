"""Windows of ONNX's convolutions and pools: their padding, and convolutions of volumes."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from calipers.graph import ops
from calipers.graph.assembly import Assembly, Position, Refusal
from calipers.graph.onnx_walk import require

WINDOW: dict[str, Any] = {
    "auto_pad": b"NOTSET",
    "dilations": None,
    "kernel_shape": None,
    "pads": None,
    "strides": None,
}


def pads_of(a: dict[str, Any], size: tuple[int, ...], kernel: list[int]) -> tuple[list[int], list[int]]:
    """Padding before and after each spatial dimension."""
    spatial = len(kernel)
    require(len(size) == spatial, f"with a {spatial}-d window over {len(size)} dimensions")
    if a["kernel_shape"] is not None:
        require(list(a["kernel_shape"]) == kernel, f"kernel_shape={a['kernel_shape']} for a kernel of shape {kernel}")
    kind = a["auto_pad"]
    if kind in (b"NOTSET", b"VALID"):
        pads = (a["pads"] if kind == b"NOTSET" else None) or [0] * (2 * spatial)
        return list(pads[:spatial]), list(pads[spatial:])
    if kind not in (b"SAME_UPPER", b"SAME_LOWER"):
        raise Refusal(f"auto_pad={kind!r}")
    strides, dilations = (a[key] or [1] * spatial for key in ("strides", "dilations"))
    total = [
        max(0, (math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n)
        for n, k, s, d in zip(size, kernel, strides, dilations, strict=True)
    ]
    small, large = [t // 2 for t in total], [t - t // 2 for t in total]
    return (small, large) if kind == b"SAME_UPPER" else (large, small)


def convolution3d(
    asm: Assembly,
    name: str,
    x: Position,
    op: ops.Conv2d,
    depth: tuple[int, int],
    before: Sequence[int],
    after: Sequence[int],
) -> Position:
    """A convolution of a volume (channels, depth, height, width) as one of planes: each slice of the output is a group.

    op: the kernel of the volume, (out, in / groups, kd, kh, kw), and the settings of the plane. depth: stride and
    dilation along the depth. before, after: padding of the volume.
    """
    stride, dilation = depth
    outputs, _, kernel, *plane = op.weight.shape
    channels = len(asm.shape(x)) - len(before)
    x = asm.add(name, ops.Pad((*[0] * channels, *before), (*[0] * channels, *after)), x)
    slices = asm.shape(x)[1]
    count = (slices - dilation * (kernel - 1) - 1) // stride + 1
    require(count > 0, f"with a kernel of {kernel} over a depth of {slices}")
    taken = stride * torch.arange(count).unsqueeze(1) + dilation * torch.arange(kernel)
    size = asm.shape(x)[2:]
    stacked = asm.rearrange(
        name, x, lambda v: v[:, :, taken].movedim(2, 1).reshape(len(v), -1, *size)
    )  # (count, in, kernel) slices in this order
    weight = op.weight.reshape(outputs, -1, *plane).repeat(count, 1, 1, 1)
    flat = ops.Conv2d(weight, op.bias.repeat(count), op.stride, (0, 0), op.dilation, op.groups * count)
    found = asm.add(name, flat, stacked)
    return asm.rearrange(name, found, lambda v: v.reshape(len(v), count, outputs, *v.shape[2:]).movedim(1, 2))


def ones(size: Sequence[int], before: Sequence[int], after: Sequence[int]) -> Tensor:
    """1 where a value is, 0 around it."""
    pairs = [amount for pair in reversed(list(zip(before, after, strict=True))) for amount in pair]
    return torch.nn.functional.pad(torch.ones(*size, dtype=torch.float64), pairs)
