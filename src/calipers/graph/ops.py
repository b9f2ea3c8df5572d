"""The operations of the intermediate representation. An operation knows how to evaluate itself and nothing else.

Tensors carry a batch dimension; shapes in the graph leave it out.
"""

from dataclasses import dataclass, fields, replace
from typing import Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor

Pair = tuple[int, int]


class Op(Protocol):
    """One operation. `evaluate` is the reference semantics that every bound must enclose."""

    def evaluate(self, *inputs: Tensor) -> Tensor: ...

    def to(self, dtype: torch.dtype, device: torch.device) -> Self:
        """The same operation with its constants converted."""


@dataclass(frozen=True, eq=False)
class _Constant:
    def to(self, dtype: torch.dtype, device: torch.device) -> Self:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors = {name: value.to(device, dtype) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **tensors)


@dataclass(frozen=True, eq=False)
class Input(_Constant):
    """The input of the network."""

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return inputs[0]


@dataclass(frozen=True, eq=False)
class Linear(_Constant):
    """y = weight x + bias over a flat input; weight is (out, in)."""

    weight: Tensor
    bias: Tensor

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return F.linear(inputs[0], self.weight, self.bias)


@dataclass(frozen=True, eq=False)
class Conv2d(_Constant):
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
class Scale(_Constant):
    """y = weight * x + bias, both broadcast over the input: normalisation, folded BatchNorm, constants."""

    weight: Tensor
    bias: Tensor

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return inputs[0] * self.weight + self.bias


@dataclass(frozen=True, eq=False)
class Reshape(_Constant):
    """Row-major reshape to `shape`."""

    shape: tuple[int, ...]

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return inputs[0].reshape(-1, *self.shape)


@dataclass(frozen=True, eq=False)
class Relu(_Constant):
    """max(x, 0)."""

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return F.relu(inputs[0])


@dataclass(frozen=True, eq=False)
class MaxPool2d(_Constant):
    """Maximum over windows; padding never wins. Windows may overlap and leave gaps."""

    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return F.max_pool2d(inputs[0], self.kernel, self.stride, self.padding, self.dilation)

    @property
    def pixels(self) -> tuple[Pair, ...]:
        """Offsets (dy, dx) of a window's pixels from its first, row by row."""
        return tuple(
            (row * self.dilation[0], column * self.dilation[1])
            for row in range(self.kernel[0])
            for column in range(self.kernel[1])
        )


@dataclass(frozen=True, eq=False)
class Add(_Constant):
    """Sum of two values of one shape (residual connections)."""

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return inputs[0] + inputs[1]
