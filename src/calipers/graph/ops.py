"""The operations of the intermediate representation. An operation knows how to evaluate itself and nothing else.

Every operation of a model is one operation here, and evaluates by the formula that the model uses, so that the two
round alike. Tensors carry a batch dimension; shapes in the graph leave it out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary

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

    def copies(self, size: Tensor) -> Tensor:
        """(batch, out) outputs that are one input times a power of two, or a constant: no evaluation rounds these.

        size: bounds of the inputs' absolute values, (batch, in); what is 0 adds nothing.
        """
        if not bool(self._dyadic.any()):
            return self._dyadic.expand(len(size), -1)
        terms = F.linear((size != 0).to(size.dtype), (self.weight != 0).to(size.dtype)) + (self.bias != 0)
        return self._dyadic & (terms <= 1)

    @cached_property
    def _dyadic(self) -> Tensor:
        """(out,) outputs with weights that are all 0 or a power of two."""
        return ((self.weight == 0) | (self.weight.abs().frexp().mantissa == 0.5)).all(1)


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
class ExactRows:
    """Rows weight x + bias over a flat input that are asked of a network and no part of it.

    Nobody deploys them, so they are meant exactly: the numbers are held in double precision whatever the network's.
    softmax: what is deployed has a softmax between the network's outputs and the rows, which only compare them.
    """

    exact_weight: Tensor
    exact_bias: Tensor
    softmax: bool = False
    dtype: torch.dtype = torch.float32

    def evaluate(self, *inputs: Tensor) -> Tensor:
        exact = F.linear(inputs[0].double(), self.exact_weight, self.exact_bias)
        return exact.to(inputs[0].dtype)

    @cached_property
    def weight(self) -> Tensor:
        """Rounded to the precision of the graph."""
        return self.exact_weight.to(self.dtype)

    @cached_property
    def bias(self) -> Tensor:
        """Rounded to the precision of the graph."""
        return self.exact_bias.to(self.dtype)


@dataclass(frozen=True, eq=False)
class Scale:
    """y = weight * x + bias, both broadcast over the input."""

    weight: Tensor
    bias: Tensor

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return inputs[0] * self.weight + self.bias


@dataclass(frozen=True, eq=False)
class Divide:
    """y = x / divisor, broadcast over the input. weight, bias: the same as a scale, rounded."""

    divisor: Tensor

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return inputs[0] / self.divisor

    @cached_property
    def weight(self) -> Tensor:
        return 1 / self.divisor

    @cached_property
    def bias(self) -> Tensor:
        return torch.zeros_like(self.divisor)


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """(x - mean) / sqrt(variance + epsilon) * gain + shift for every channel, dimension 0 of a sample.

    weight, bias: the same as a scale, worked out in double precision and rounded once; they broadcast over a sample of
    `rank` dimensions. size: what the bias is made of, in absolute terms.
    """

    mean: Tensor
    variance: Tensor
    gain: Tensor
    shift: Tensor
    epsilon: float
    rank: int

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return F.batch_norm(inputs[0], self.mean, self.variance, self.gain, self.shift, False, 0.0, self.epsilon)

    @cached_property
    def weight(self) -> Tensor:
        return self._laid(self._factor)

    @cached_property
    def bias(self) -> Tensor:
        return self._laid(self.shift.double() - self.mean.double() * self._factor)

    @cached_property
    def size(self) -> Tensor:
        return self._laid(self.shift.double().abs() + (self.mean.double() * self._factor).abs())

    @property
    def _factor(self) -> Tensor:
        return self.gain.double() / (self.variance.double() + self.epsilon).sqrt()

    def _laid(self, exact: Tensor) -> Tensor:
        return exact.to(self.mean.dtype).reshape(-1, *([1] * (self.rank - 1)))


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
class LeakyRelu:
    """x above 0, slope * x below; the slope broadcasts over the input and may have any sign and size."""

    slope: Tensor

    def evaluate(self, *inputs: Tensor) -> Tensor:
        x = inputs[0]
        return torch.where(x > 0, x, x * self.slope)


@dataclass(frozen=True, eq=False)
class Clamp:
    """min(max(x, low), high); both broadcast over the input, and are infinite where a side is open."""

    low: Tensor
    high: Tensor

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(inputs[0], self.low), self.high)


@dataclass(frozen=True, eq=False)
class Absolute:
    """|x|."""

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return inputs[0].abs()


@dataclass(frozen=True, eq=False)
class Tanh:
    """The hyperbolic tangent."""

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return torch.tanh(inputs[0])


@dataclass(frozen=True, eq=False)
class Sigmoid:
    """1 / (1 + exp(-x))."""

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return torch.sigmoid(inputs[0])


@dataclass(frozen=True, eq=False)
class Softplus:
    """log(1 + exp(beta x)) / beta; x itself where beta x exceeds the threshold."""

    beta: float = 1.0
    threshold: float = 50.0  # from here on no format here can tell the difference

    def evaluate(self, *inputs: Tensor) -> Tensor:
        return F.softplus(inputs[0], self.beta, self.threshold)


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


# Functions of one entry each, those of them that are straight but for one or two bends, and all operations that need a
# relaxation.
Bent = LeakyRelu | Clamp | Absolute
Elementwise = Relu | Bent | Sigmoid | Tanh | Softplus
Nonlinear = Elementwise | MaxPool2d

# Affine operations: those with a weight and a bias, among them those that scale every entry, and those that only move
# and add entries.
PerEntry = Scale | Divide | BatchNorm
Dense = Linear | ExactRows
Weighted = Dense | Conv2d | ConvTranspose2d | PerEntry
Moving = Reshape | Gather | Pad | Concat | Add
Affine = Weighted | Moving


def weighted(op: Weighted, weight: Tensor, bias: Tensor) -> Linear | Conv2d | ConvTranspose2d | Scale:
    """The same kind of affine operation with another weight and bias."""
    match op:
        case Linear() | ExactRows():
            return Linear(weight, bias)
        case Scale() | Divide() | BatchNorm():
            return Scale(weight, bias)
        case _:
            return replace(op, weight=weight, bias=bias)


def linear_part(op: Affine) -> Affine:
    """An affine operation without its constants."""
    match op:
        case Pad():
            return replace(op, value=0.0)
        case Reshape() | Gather() | Concat() | Add():
            return op
        case _:
            return weighted(op, op.weight, torch.zeros_like(op.bias))


# By operation, what `absolute` has made of it, and of which versions of its tensors.
_ABSOLUTE: "WeakKeyDictionary[Op, tuple[tuple[int, int], Affine]]" = WeakKeyDictionary()


def absolute(op: Affine) -> Affine:
    """An affine operation with the absolute values of its constants: it maps magnitudes to sums of magnitudes."""
    match op:
        case Pad():
            return replace(op, value=abs(op.value))
        case Reshape() | Gather() | Concat() | Add():
            return op
        case Linear() | Conv2d() | ConvTranspose2d() | Scale():
            # Bounds ask for it at every step; weights that were changed in place have another version.
            version = (op.weight._version, op.bias._version)
            known = _ABSOLUTE.get(op)
            if known is None or known[0] != version:
                known = _ABSOLUTE[op] = (version, weighted(op, op.weight.abs(), op.bias.abs()))
            return known[1]
        case _:
            return weighted(op, op.weight.abs(), (op.size if isinstance(op, BatchNorm) else op.bias).abs())


def terms(op: Affine) -> int:
    """How many products an entry of the output adds up at most, the bias included."""
    match op:
        case Linear() | ExactRows():
            return op.weight.shape[1] + 1
        case Conv2d():
            return math.prod(op.weight.shape[1:]) + 1
        case ConvTranspose2d():
            return op.weight.shape[0] // op.groups * math.prod(op.weight.shape[2:]) + 1
        case Scale() | Divide() | BatchNorm() | Add():
            return 2
        case _:
            return 1


def tensors(op: Op) -> dict[str, Tensor]:
    """The tensors that an operation was made with, by name."""
    named = {field.name: getattr(op, field.name) for field in fields(op)}  # type: ignore[arg-type]
    return {name: value for name, value in named.items() if isinstance(value, Tensor)}


def with_tensors(op: Op, found: Mapping[str, Tensor]) -> Op:
    """The same operation with others in place of its tensors, by name."""
    return replace(op, **found)  # type: ignore[type-var]


def settings(op: Op) -> dict[str, object]:
    """All else that an operation was made with, by name."""
    named = {field.name: getattr(op, field.name) for field in fields(op)}  # type: ignore[arg-type]
    return {name: value for name, value in named.items() if not isinstance(value, Tensor)}


def converted(op: Op, dtype: torch.dtype | None, device: torch.device | str | None) -> Op:
    """The same operation with its constants in another precision or place, None: as it is; a question stays exact."""
    if isinstance(op, ExactRows):
        moved = {name: value.to(device) for name, value in tensors(op).items()}
        return replace(op, **moved, dtype=op.dtype if dtype is None else dtype)  # type: ignore[arg-type]
    return with_tensors(
        op, {n: v.to(device, dtype if v.is_floating_point() else v.dtype) for n, v in tensors(op).items()}
    )
