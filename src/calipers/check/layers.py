"""The affine layers of a network in numpy float64: forwards, forwards in magnitude, and rows backwards.

Written apart from the rest of the package: what this room accepts must not rest on the code that found it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from calipers.check.rounding import SINGLE, SMALLEST, SMOOTH, TINY, Array, deployed_gamma

Shape = tuple[int, ...]


@runtime_checkable
class Layer(Protocol):
    """An affine map of one or two values; values carry a leading batch, rows a leading number of rows."""

    def forward(self, *values: Array) -> Array: ...

    def magnitude(self, *values: Array) -> Array:
        """The same with absolute weights and offsets: the sum of absolute terms for values of that size."""

    def backward(self, rows: Array, shapes: Sequence[Shape]) -> list[Array]:
        """Rows over the output as rows over each input, of the shapes given."""

    def offset(self, shape: Shape) -> Array:
        """The output for zero inputs."""

    def deployed(self, *values: Array) -> Array:
        """How far single precision may be from the exact output, given bounds of the inputs' absolute values."""

    @property
    def terms(self) -> int:
        """How many products one entry adds up, forwards or backwards, at most."""


@dataclass(frozen=True, eq=False)
class Linear:
    """Weight (out, in). asked: the rows are asked of a network and no part of it, so nobody rounds them."""

    weight: Array
    bias: Array
    asked: bool = False
    softmax: bool = False

    def forward(self, *values: Array) -> Array:
        return values[0] @ self.weight.T + self.bias

    def magnitude(self, *values: Array) -> Array:
        return values[0] @ np.abs(self.weight).T + np.abs(self.bias)

    def backward(self, rows: Array, shapes: Sequence[Shape]) -> list[Array]:
        return [rows @ self.weight]

    def deployed(self, *values: Array) -> Array:
        if self.asked:
            return (order_error(values[0]) if self.softmax else np.zeros_like(values[0])) @ np.abs(self.weight).T
        count = self.weight.shape[1] + 2
        return deployed_gamma(count) * self.magnitude(*values) + count * TINY

    def offset(self, shape: Shape) -> Array:
        return self.bias

    @property
    def terms(self) -> int:
        return max(self.weight.shape) + 1


@dataclass(frozen=True, eq=False)
class Convolution:
    """Cross-correlation of weight (out, in / groups, kh, kw) with zero padding; transposed: its transpose.

    The transposed layer has weight (in, out / groups, kh, kw), and `size` is the height and width of its output.
    """

    weight: Array
    bias: Array
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    transposed: bool = False
    size: tuple[int, int] = (0, 0)

    def forward(self, *values: Array) -> Array:
        return self._straight(self.weight, values[0]) + self.bias[:, None, None]

    def magnitude(self, *values: Array) -> Array:
        return self._straight(np.abs(self.weight), values[0]) + np.abs(self.bias)[:, None, None]

    def backward(self, rows: Array, shapes: Sequence[Shape]) -> list[Array]:
        if self.transposed:
            return [self._gather(self.weight, rows, (shapes[0][1], shapes[0][2]))]
        return [self._scatter(self.weight, rows, (shapes[0][1], shapes[0][2]))]

    def offset(self, shape: Shape) -> Array:
        return np.broadcast_to(self.bias[:, None, None], shape)

    def deployed(self, *values: Array) -> Array:
        inputs = self.weight.shape[0] // self.groups if self.transposed else self.weight.shape[1]
        count = inputs * math.prod(self.weight.shape[2:]) + 2
        return deployed_gamma(count) * self.magnitude(*values) + count * TINY

    @property
    def terms(self) -> int:
        return int(max(self.weight.shape[0], self.weight.shape[1]) * math.prod(self.weight.shape[2:])) + 1

    def _straight(self, weight: Array, x: Array) -> Array:
        if self.transposed:
            return self._scatter(weight, x, self.size)
        size = [
            (x.shape[2 + i] + 2 * self.padding[i] - self.dilation[i] * (weight.shape[2 + i] - 1) - 1) // self.stride[i]
            + 1
            for i in (0, 1)
        ]
        return self._gather(weight, x, (size[0], size[1]))

    def _gather(self, weight: Array, x: Array, size: tuple[int, int]) -> Array:
        """(n, in, h, w) -> (n, out, *size): every output collects its window."""
        padded = self._padded(x, size, weight)
        out = np.zeros((len(x), weight.shape[0], *size))
        for (dy, dx), ins, outs in self._pieces(weight):
            window = padded[:, ins, self._steps(dy, 0, size[0]), self._steps(dx, 1, size[1])]
            kernel = weight[outs, :, dy, dx]
            out[:, outs] += np.einsum("oi,nihw->nohw", kernel, window, optimize=True)
        return out

    def _scatter(self, weight: Array, x: Array, size: tuple[int, int]) -> Array:
        """(n, out, h, w) -> (n, in, *size): the transpose of `_gather`."""
        height, width = x.shape[2:]
        channels = weight.shape[1] * self.groups
        full = [
            max(
                size[i] + 2 * self.padding[i],
                self.stride[i] * (n - 1) + self.dilation[i] * (weight.shape[2 + i] - 1) + 1,
            )
            for i, n in enumerate((height, width))
        ]
        padded = np.zeros((len(x), channels, *full))
        for (dy, dx), ins, outs in self._pieces(weight):
            kernel = weight[outs, :, dy, dx]
            part = np.einsum("oi,nohw->nihw", kernel, x[:, outs], optimize=True)
            padded[:, ins, self._steps(dy, 0, height), self._steps(dx, 1, width)] += part
        top, left = self.padding
        return padded[:, :, top : top + size[0], left : left + size[1]]

    def _pieces(self, weight: Array) -> list[tuple[tuple[int, int], slice, slice]]:
        """Kernel places, with the channels of a group that they join."""
        outs, ins = weight.shape[0] // self.groups, weight.shape[1]
        return [
            ((dy, dx), slice(g * ins, (g + 1) * ins), slice(g * outs, (g + 1) * outs))
            for dy in range(weight.shape[2])
            for dx in range(weight.shape[3])
            for g in range(self.groups)
        ]

    def _steps(self, place: int, axis: int, count: int) -> slice:
        start, stride = place * self.dilation[axis], self.stride[axis]
        return slice(start, start + stride * (count - 1) + 1, stride)

    def _span(self, axis: int, count: int, weight: Array) -> int:
        """How far `count` windows reach."""
        return self.stride[axis] * (count - 1) + self.dilation[axis] * (weight.shape[2 + axis] - 1) + 1

    def _padded(self, x: Array, size: tuple[int, int], weight: Array) -> Array:
        top, left = self.padding
        more = [
            max(
                0,
                self.stride[i] * (size[i] - 1) + self.dilation[i] * (weight.shape[2 + i] - 1) + 1 - x.shape[2 + i] - p,
            )
            for i, p in enumerate((top, left))
        ]
        return np.pad(x, ((0, 0), (0, 0), (top, more[0]), (left, more[1])))


@dataclass(frozen=True, eq=False)
class Scale:
    """Weight * x + bias, broadcast to the shape of x.

    size: what the bias is made of, in absolute terms. roundings: of each entry where the layer is deployed.
    """

    weight: Array
    bias: Array
    size: Array
    roundings: int

    def forward(self, *values: Array) -> Array:
        return values[0] * self.weight + self.bias

    def magnitude(self, *values: Array) -> Array:
        return values[0] * np.abs(self.weight) + self.size

    def deployed(self, *values: Array) -> Array:
        # A sign or a power of two changes no digit, but of what becomes too small; neither does a constant.
        plain = (self.size == 0) & (np.frexp(np.abs(self.weight))[0] == 0.5)
        small = np.where(np.abs(self.weight) < 1, SMALLEST, 0.0)
        error = deployed_gamma(self.roundings) * self.magnitude(*values) + self.roundings * TINY
        return np.where(self.weight == 0, written(self.bias), np.where(plain, small, error))

    def backward(self, rows: Array, shapes: Sequence[Shape]) -> list[Array]:
        return [rows * self.weight]

    def offset(self, shape: Shape) -> Array:
        return np.broadcast_to(self.bias, shape)

    terms: int = 8


@dataclass(frozen=True, eq=False)
class Move:
    """y = x[index] with x flat, `fill` where the index is -1: reshapes, slices, pads, transposes. index: shape of y."""

    index: Array
    fill: float = 0.0

    def forward(self, *values: Array) -> Array:
        flat = values[0].reshape(len(values[0]), -1)
        return np.where(self.index < 0, self.fill, flat[:, np.maximum(self.index, 0)])

    def magnitude(self, *values: Array) -> Array:
        flat = values[0].reshape(len(values[0]), -1)
        return np.where(self.index < 0, abs(self.fill), flat[:, np.maximum(self.index, 0)])

    def deployed(self, *values: Array) -> Array:
        error = np.where(self.index < 0, written(np.array(self.fill)), 0.0)
        return np.broadcast_to(error, (len(values[0]), *self.index.shape))

    def backward(self, rows: Array, shapes: Sequence[Shape]) -> list[Array]:
        real = (self.index >= 0).ravel()
        found = np.zeros((math.prod(shapes[0]), len(rows)))
        np.add.at(found, self.index.ravel()[real], rows.reshape(len(rows), -1)[:, real].T)
        return [found.T.reshape(len(rows), *shapes[0])]

    def offset(self, shape: Shape) -> Array:
        return np.where(self.index < 0, self.fill, 0.0)

    @property
    def terms(self) -> int:
        return int(np.bincount(self.index[self.index >= 0].ravel(), minlength=1).max()) + 1


@dataclass(frozen=True, eq=False)
class Sum:
    """Two values added."""

    def forward(self, *values: Array) -> Array:
        return values[0] + values[1]

    def magnitude(self, *values: Array) -> Array:
        return values[0] + values[1]

    def deployed(self, *values: Array) -> Array:
        return deployed_gamma(1) * (values[0] + values[1])

    def backward(self, rows: Array, shapes: Sequence[Shape]) -> list[Array]:
        return [rows, rows]

    def offset(self, shape: Shape) -> Array:
        return np.zeros(shape)

    terms: int = 2


@dataclass(frozen=True, eq=False)
class Join:
    """Two or more values one after the other along axis `dim` of a sample."""

    dim: int

    def forward(self, *values: Array) -> Array:
        return np.concatenate(values, axis=self.dim + 1)

    def magnitude(self, *values: Array) -> Array:
        return self.forward(*values)

    def deployed(self, *values: Array) -> Array:
        return np.zeros_like(self.forward(*values))

    def backward(self, rows: Array, shapes: Sequence[Shape]) -> list[Array]:
        cuts = np.cumsum([shape[self.dim] for shape in shapes])[:-1]
        return list(np.split(rows, cuts, axis=self.dim + 1))

    def offset(self, shape: Shape) -> Array:
        return np.zeros(shape)

    terms: int = 1


def written(constant: Array) -> Array:
    """How far constants may be from what was written; numbers of up to 16 binary digits were meant as they are."""
    digits = np.frexp(np.abs(constant))[0] * 2**16
    return np.where(digits == np.round(digits), 0.0, SINGLE * np.abs(constant))


def order_error(size: Array) -> Array:
    """How near values may be for a softmax after them to lose their order."""
    return 2 * SMOOTH * SINGLE * (1 + size)
