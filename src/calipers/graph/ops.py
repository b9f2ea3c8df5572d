"""The operations of the intermediate representation. An operation knows how to evaluate itself and nothing else.

Tensors carry a batch dimension; shapes in the graph leave it out.
"""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

Pair = tuple[int, int]


@runtime_checkable
class Op(Protocol):
    """One operation. `evaluate` is the reference semantics that every bound must enclose."""

    def evaluate(self, *inputs: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Input:
    """The input of the network."""

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return inputs[0]


@dataclass(frozen=True, eq=False)
class Linear:
    """y = weight x + bias over a flat input; weight is (out, in)."""

    weight: Tensor
    bias: Tensor

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return F.linear(inputs[0], self.weight, self.bias)


@dataclass(frozen=True, eq=False)
class Conv2d:
    """Cross-correlation with zero padding; weight is (out, in / groups, kh, kw)."""

    weight: Tensor
    bias: Tensor
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return F.conv2d(inputs[0], self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


@dataclass(frozen=True, eq=False)
class ConvTranspose2d:
    """Transposed convolution; weight is (in, out / groups, kh, kw)."""

    weight: Tensor
    bias: Tensor
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    output_padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return F.conv_transpose2d(
            inputs[0],
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )


@dataclass(frozen=True, eq=False)
class Scale:
    """y = weight * x + bias, both broadcast over the input: normalisation, folded BatchNorm, constants."""

    weight: Tensor
    bias: Tensor

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return inputs[0] * self.weight + self.bias


@dataclass(frozen=True, eq=False)
class Reshape:
    """Row-major reshape to `shape`."""

    shape: tuple[int, ...]

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return inputs[0].reshape(-1, *self.shape)


@dataclass(frozen=True, eq=False)
class Gather:
    """y = x[index] with x flattened: transposes, strided slices, repetitions. index: integers of the shape of y."""

    index: Tensor

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return inputs[0].flatten(1)[:, self.index]


@dataclass(frozen=True, eq=False)
class Pad:
    """`before` and `after` each dimension so many places of a constant; negative amounts crop (slices)."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float = 0.0

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return F.pad(inputs[0], self.amounts, value=self.value)

    @property
    def amounts(self) -> list[int]:
        """As torch's `pad` takes them: from the last dimension to the first."""
        pairs = list(zip(self.before, self.after, strict=True))
        return [amount for pair in reversed(pairs) for amount in pair]


@dataclass(frozen=True, eq=False)
class Concat:
    """Values one after the other along dimension `dim` of a sample."""

    dim: int

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return torch.cat(inputs, dim=self.dim + 1)


@dataclass(frozen=True, eq=False)
class Relu:
    """max(x, 0)."""

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return F.relu(inputs[0])


@dataclass(frozen=True, eq=False)
class Sigmoid:
    """1 / (1 + exp(-x))."""

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return torch.sigmoid(inputs[0])


@dataclass(frozen=True, eq=False)
class Softplus:
    """log(1 + exp(x))."""

    def evaluate(self, *inputs: Tensor) -> Tensor:
        # Beyond the threshold it is x itself; from 50 on no format here can tell the difference.
        return F.softplus(inputs[0], threshold=50)


@dataclass(frozen=True, eq=False)
class MaxPool2d:
    """Maximum over windows; padding never wins. Windows may overlap and leave gaps.

    floor: the result is not below it, as if one more pixel had this value; 0 stands for a ReLU before the pool.
    """

    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    floor: float | None = None

    def evaluate(self, *inputs: Tensor) -> Tensor:
        pooled = F.max_pool2d(inputs[0], self.kernel, self.stride, self.padding, self.dilation)
        return pooled if self.floor is None else pooled.clamp(min=self.floor)

    @property
    def pixels(self) -> tuple[Pair, ...]:
        """Offsets (dy, dx) of a window's pixels from its first, row by row."""
        return tuple(
            (row * self.dilation[0], column * self.dilation[1])
            for row in range(self.kernel[0])
            for column in range(self.kernel[1])
        )


@dataclass(frozen=True, eq=False)
class Add:
    """Sum of two values of one shape (residual connections)."""

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return inputs[0] + inputs[1]


@dataclass(frozen=True, eq=False)
class Softmax:
    """Softmax over a flat value, or its logarithm. Only ever the last operation, which a graph sets apart."""

    log: bool = False

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return F.log_softmax(inputs[0], 1) if self.log else F.softmax(inputs[0], 1)


# Monotone functions of one entry each, and all operations that need a relaxation.
Elementwise = Relu | Sigmoid | Softplus
Nonlinear = Elementwise | MaxPool2d

# Affine operations: those with a weight and a bias, and those that only move and add entries.
Weighted = Linear | Conv2d | ConvTranspose2d | Scale
Moving = Reshape | Gather | Pad | Concat | Add
Affine = Weighted | Moving


def linear_part(op: Affine) -> Affine:
    """An affine operation without its constants."""
    match op:
        case Linear() | Conv2d() | ConvTranspose2d() | Scale():
            return replace(op, bias=torch.zeros_like(op.bias))
        case Pad():
            return replace(op, value=0.0)
        case _:
            return op
