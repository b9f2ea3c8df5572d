"""One walk through a module's layers, in any arithmetic: exactly, or in single precision with sums in another order.

Values are (points, entries): entries of a sample are flat, as in row-major order. No code of calipers is used.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.soundness import dyadic
from tests.soundness.dyadic import Dyadic
from tests.soundness.layers import Abs, Clip, Extreme, Gain, Joined, Residual, pair

Value = Any
Shape = tuple[int, ...]


class Arithmetic(Protocol):
    """What a layer needs of an arithmetic. Weights are (out, in); all others broadcast over the entries."""

    def number(self, values: Tensor) -> Value: ...

    def affine(self, x: Value, weight: Tensor, bias: Tensor) -> Value: ...

    def scaled(self, x: Value, weight: Tensor, bias: Tensor) -> Value: ...

    def normalised(self, x: Value, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor) -> Value: ...

    def add(self, a: Value, b: Value) -> Value: ...

    def maximum(self, a: Value, b: Value) -> Value: ...

    def minimum(self, a: Value, b: Value) -> Value: ...

    def function(self, x: Value, name: str) -> Value: ...

    def join(self, parts: list[Value]) -> Value: ...


@dataclass(frozen=True)
class Exact:
    """Rational arithmetic. Roots and exponentials are rounded hundreds of bits behind the point."""

    def number(self, values: Tensor) -> Dyadic:
        return Dyadic.of(values)

    def affine(self, x: Dyadic, weight: Tensor, bias: Tensor) -> Dyadic:
        return x @ Dyadic.of(weight).transposed + Dyadic.of(bias)

    def scaled(self, x: Dyadic, weight: Tensor, bias: Tensor) -> Dyadic:
        return x * Dyadic.of(weight) + Dyadic.of(bias)

    def normalised(self, x: Dyadic, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor) -> Dyadic:
        return (x - Dyadic.of(mean)) * Dyadic.of(weight).over_root(Dyadic.of(variance)) + Dyadic.of(bias)

    def add(self, a: Dyadic, b: Dyadic) -> Dyadic:
        return a + b

    def maximum(self, a: Dyadic, b: Dyadic) -> Dyadic:
        return a.maximum(b)

    def minimum(self, a: Dyadic, b: Dyadic) -> Dyadic:
        return a.minimum(b)

    def function(self, x: Dyadic, name: str) -> Dyadic:
        return x.apply(name)

    def join(self, parts: list[Dyadic]) -> Dyadic:
        return dyadic.joined(parts)


@dataclass(frozen=True)
class Single:
    """Single precision with sums as some machine may take them.

    lanes: partial sums that are added up at the end, as vector units do; the order of the terms is drawn from `seed`.
    bias_first: sums start from the bias. fused: products are added without being rounded.
    """

    seed: int
    lanes: int = 1
    bias_first: bool = False
    fused: bool = False

    @classmethod
    def drawn(cls, seed: int) -> "Single":
        """One of them all."""
        return cls(seed, (1, 2, 4, 8)[seed % 4], bool(seed // 4 % 2), bool(seed // 8 % 2))

    def number(self, values: Tensor) -> Tensor:
        return values.float()

    def affine(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        order = torch.randperm(weight.shape[1], generator=torch.Generator().manual_seed(self.seed)).tolist()
        sums: list[Tensor] = [bias.expand(len(x), -1)] if self.bias_first else []
        for place, k in enumerate(order):
            lane = place % self.lanes
            if lane < len(sums):
                sums[lane] = self._plus(sums[lane], x[:, k : k + 1], weight[:, k])
            else:
                sums.append(x[:, k : k + 1] * weight[:, k])
        total = sums[0]
        for one in sums[1:]:
            total = total + one
        return total if self.bias_first else total + bias

    def scaled(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self._plus(bias, x, weight)

    def normalised(self, x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        variance = variance.float()
        if self.seed % 2:
            factor = weight / variance.sqrt()
            return self._plus(self._plus(bias, -mean, factor), x, factor)
        return (x - mean) * (1 / variance.sqrt()) * weight + bias

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.maximum(a, b)

    def minimum(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.minimum(a, b)

    def function(self, x: Tensor, name: str) -> Tensor:
        # Correctly rounded or as torch's kernels do it.
        return getattr(torch, name)(x.double()).float() if self.seed % 2 else getattr(torch, name)(x)

    def join(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, 1)

    def _plus(self, total: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        if not self.fused:
            return total + x * weight
        # Products of two are exact in double precision.
        return (total.double() + x.double() * weight.double()).float()


def evaluate(module: nn.Module, x: Tensor, arithmetic: Arithmetic) -> Value:
    """The flat outputs of a module at points of shape (points, *shape)."""
    with torch.no_grad():
        value, _ = _layer(module, (arithmetic.number(x.flatten(1)), tuple(x.shape[1:])), arithmetic)
    return value


def rows(outputs: Value, C: Tensor, d: Tensor, arithmetic: Arithmetic) -> Value:
    """One row C f + d for each point; C is (points, outputs)."""
    with torch.no_grad():
        total = arithmetic.scaled(outputs[:, 0], C[:, 0], torch.zeros_like(d))
        for k in range(1, C.shape[1]):
            total = arithmetic.add(total, arithmetic.scaled(outputs[:, k], C[:, k], torch.zeros_like(d)))
        return arithmetic.add(total, arithmetic.number(d))


def is_smooth(module: nn.Module) -> bool:
    """Whether exact numbers are rounded on the way, far behind the point."""
    rounded = nn.Sigmoid | nn.Tanh | nn.BatchNorm1d | nn.BatchNorm2d
    return any(isinstance(layer, rounded) for layer in module.modules())


def _layer(layer: nn.Module, given: tuple[Value, Shape], a: Arithmetic) -> tuple[Value, Shape]:
    x, shape = given
    match layer:
        case nn.Sequential():
            for one in layer:
                x, shape = _layer(one, (x, shape), a)
            return x, shape
        case nn.Linear():
            return a.affine(x, layer.weight, _bias(layer)), (layer.out_features,)
        case nn.Conv2d():
            return _conv(layer, x, shape, a)
        case nn.MaxPool2d():
            return _max_pool(layer, x, shape, a)
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            assert layer.running_mean is not None
            assert layer.running_var is not None
            repeats = int(np.prod(shape[1:], dtype=int))
            mean, variance, weight, bias = (
                t.repeat_interleave(repeats)
                for t in (layer.running_mean, layer.running_var.double() + layer.eps, layer.weight, layer.bias)
            )
            return a.normalised(x, mean, variance, weight, bias), shape
        case Gain():
            weight, bias = (t.expand(shape).flatten() for t in (layer.weight, layer.bias))
            return a.scaled(x, weight, bias), shape
        case nn.ReLU():
            return a.maximum(x, a.number(torch.zeros(1))), shape
        case nn.LeakyReLU():
            slope = torch.tensor([layer.negative_slope])
            bent = a.scaled(x, slope, torch.zeros(1))
            return a.maximum(x, bent) if layer.negative_slope <= 1 else a.minimum(x, bent), shape
        case Abs():
            return a.maximum(x, a.scaled(x, torch.tensor([-1.0]), torch.zeros(1))), shape
        case Clip():
            low, high = a.number(torch.tensor([layer.low])), a.number(torch.tensor([layer.high]))
            return a.minimum(a.maximum(x, low), high), shape
        case nn.Sigmoid():
            return a.function(x, "sigmoid"), shape
        case nn.Tanh():
            return a.function(x, "tanh"), shape
        case nn.Flatten():
            return x, (int(np.prod(shape, dtype=int)),)
        case nn.Unflatten():
            return x, tuple(layer.unflattened_size)
        case Residual():
            return a.add(x, _layer(layer.body, given, a)[0]), shape
        case Joined():
            (one, size), (two, other) = (_layer(branch, given, a) for branch in (layer.one, layer.two))
            return a.join([one, two]), (size[0] + other[0], *size[1:])
        case Extreme():
            (one, size), (two, _) = (_layer(branch, given, a) for branch in (layer.one, layer.two))
            return (a.maximum if layer.largest else a.minimum)(one, two), size
        case _:
            raise NotImplementedError(type(layer).__name__)


def _bias(layer: nn.Linear | nn.Conv2d) -> Tensor:
    return layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias


def _windows(shape: Shape, layer: nn.Conv2d | nn.MaxPool2d) -> tuple[Tensor, Shape]:
    """(pixels of a window, channels, windows): places of the entries a window sees, -1 for padding."""
    entries = torch.arange(1, 1 + int(np.prod(shape)), dtype=torch.float64).reshape(shape)
    kernel, stride, padding, dilation = (
        pair(v) for v in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    )
    laid = F.unfold(entries[None], kernel, dilation, padding, stride)[0].long() - 1
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(shape[1:], kernel, stride, padding, dilation, strict=True)
    ]
    return laid.reshape(shape[0], -1, laid.shape[1]).transpose(0, 1), tuple(size)


def _conv(layer: nn.Conv2d, x: Value, shape: Shape, a: Arithmetic) -> tuple[Value, Shape]:
    assert layer.groups == 1
    index, size = _windows(shape, layer)
    count = x.shape[0]
    padded = a.join([x, a.number(torch.zeros(count, 1))])
    seen = index.transpose(0, 1).reshape(-1, index.shape[2]).T  # windows, channels * pixels
    taken = padded[:, _places(seen, x.shape[1])].reshape(-1, seen.shape[1])
    out = a.affine(taken, layer.weight.flatten(1), _bias(layer))
    channels = len(layer.weight)
    order = torch.arange(len(seen) * channels).reshape(len(seen), channels).T.flatten()
    return out.reshape(count, -1)[:, order.numpy()], (channels, *size)


def _places(index: Tensor, zero: int) -> np.ndarray:
    return torch.where(index < 0, zero, index).numpy()


def _max_pool(layer: nn.MaxPool2d, x: Value, shape: Shape, a: Arithmetic) -> tuple[Value, Shape]:
    index, size = _windows(shape, layer)
    # A pixel that is there stands for the padding of its window.
    places = torch.where(index < 0, index.amax(0), index).flatten(1).numpy()
    best = x[:, places[0]]
    for one in places[1:]:
        best = a.maximum(best, x[:, one])
    return best, (shape[0], *size)
