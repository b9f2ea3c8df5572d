"""What rounding can change in one operation: the one place that knows how networks round.

A network that is deployed computes in single precision: in any order of summation, with or without fused multiply-add,
by anybody's exponential. `deployed` bounds what that changes in the output of an operation, given its very inputs.
Standard kernels are meant; Winograd and FFT convolutions, TF32 and half precision round more and are outside.
Source: Higham 2002, section 3.1.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from calipers.graph import ops
from calipers.graph.graph import Graph

# The unit roundoff of single precision, in which networks are deployed.
SINGLE = 2.0**-24
# What may be lost where numbers are too small for their format, or are flushed to zero.
_TINY = 2.0**-126
_SMALLEST = 2.0**-149
# Roundings of x * alpha + beta with alpha and beta worked out from statistics, or of ((x - mean) * alpha) + shift.
_BATCH_NORM = 12
# Units by which sigmoid, tanh and softplus are off in torch, onnxruntime and numpy: 2.8, 5.5 and 2.7 at most on a dense
# grid (tests/graph/test_rounding.py); of 1, and of the value where it is larger.
_SMOOTH = 8
# Magnitudes are sums in floating point themselves.
FUDGE = 1.01


def gamma(count: int, unit: float = SINGLE) -> float:
    """A bound of the relative error of a sum of products, each of which is rounded `count` times at most."""
    return count * unit / (1 - count * unit) if count * unit < 0.5 else math.inf


def unit_of(dtype: torch.dtype) -> float:
    """The unit roundoff of a format."""
    return torch.finfo(dtype).eps / 2


def magnitude(op: ops.Affine, sizes: Sequence[Tensor]) -> Tensor:
    """The sum of the absolute values that each entry of the output adds up, given bounds of the inputs' sizes."""
    return ops.absolute(op).evaluate(*sizes) * FUDGE


def deployed(op: ops.Op, sizes: Sequence[Tensor], size: Tensor) -> Tensor | None:
    """How far a single-precision evaluation of the operation is from the exact one at most; None for not at all.

    sizes: bounds of the absolute values of the inputs, (batch, *shape). size: of the output.
    """
    match op:
        case ops.Linear() | ops.Conv2d() | ops.ConvTranspose2d():
            # One more than the terms: a factor may be applied to the sum (Gemm's alpha).
            count = ops.terms(op) + 1
            error = gamma(count) * magnitude(op, sizes) + count * _TINY
            if not isinstance(op, ops.Linear):
                return error
            # Copies lose what becomes smaller than the smallest number, which no weight of 1 and more makes of any.
            smaller = ((op.weight == 0) | (op.weight.abs() >= 1)).all(1).logical_not() * _SMALLEST
            return torch.where(op.copies(sizes[0]), smaller.to(error.dtype), error)
        case ops.ExactRows():
            return ops.linear_part(ops.absolute(op)).evaluate(_order_error(sizes[0])) if op.softmax else None
        case ops.Scale():
            # A sign or a power of two changes no digit.
            plain = (op.bias == 0) & (op.weight.abs().frexp().mantissa == 0.5)
            error = gamma(3) * magnitude(op, sizes) + 2 * _TINY
            error = torch.where(plain, (op.weight.abs() < 1) * _SMALLEST, error).to(size.dtype)
            return torch.where(op.weight == 0, _written(op.bias), error)
        case ops.Divide():
            whole = op.divisor.abs().frexp().mantissa == 0.5
            error = gamma(3) * magnitude(op, sizes) + 2 * _TINY
            return torch.where(whole, (op.divisor.abs() > 1) * _SMALLEST, error).to(size.dtype)
        case ops.BatchNorm():
            return gamma(_BATCH_NORM) * magnitude(op, sizes) + _BATCH_NORM * _TINY
        case ops.Add():
            return gamma(1) * torch.minimum(sizes[0] + sizes[1], size) * FUDGE
        case ops.Pad():
            # The constant at the padded places, 0 elsewhere.
            error = _written(torch.tensor(op.value, dtype=size.dtype))
            zeros = torch.zeros_like(sizes[0])
            return ops.Pad(op.before, op.after, float(error)).evaluate(zeros) if bool(error) else None
        case ops.Clamp():
            # A limit that is not attained plays no part.
            sides = [torch.where(side.abs() <= sizes[0], _written(side), 0.0) for side in (op.low, op.high)]
            error = torch.maximum(sides[0], sides[1])
            return error if bool(error.any()) else None
        case ops.LeakyRelu():
            return gamma(1) * op.slope.abs() * sizes[0] * FUDGE + _TINY
        case ops.Sigmoid() | ops.Tanh():
            return torch.full_like(size, _SMOOTH * SINGLE)
        case ops.Softplus():
            # Beyond the threshold the function jumps to x.
            jump = math.log1p(math.exp(-op.threshold)) / op.beta
            return _SMOOTH * SINGLE * (size + 1 / op.beta) * FUDGE + jump
        case _:
            return None


def _written(constant: Tensor) -> Tensor:
    """How far constants may be from what was written: decimals are rounded, once in each precision.

    Numbers of up to 16 binary digits were meant as they are.
    """
    digits = constant.abs().frexp().mantissa * 2**16
    return torch.where((digits == digits.round()) | ~constant.isfinite(), 0.0, SINGLE * constant.abs())


def tail_error(graph: Graph, size: Tensor) -> Tensor | None:
    """How near logits may be for a softmax after them to lose their order, given bounds of their absolute values."""
    if graph.tail is None:
        return None
    return _order_error(size)


def _order_error(size: Tensor) -> Tensor:
    return 2 * _SMOOTH * SINGLE * (1 + size)


def forward_errors(graph: Graph, x: Tensor) -> list[Tensor]:
    """How far single-precision values of every node may be from exact ones, at a batch of inputs, to first order."""
    values, errors = graph.values(x), [torch.zeros_like(x)]
    for position, node in enumerate(graph.nodes[1:], start=1):
        given = [errors[i] for i in node.inputs]
        sizes = [values[i].abs() + errors[i] for i in node.inputs]
        error = _passed(node.op, given)
        own = deployed(node.op, sizes, values[position].abs() + error)
        errors.append(error if own is None else error + own)
    return errors


def _passed(op: ops.Op, errors: Sequence[Tensor]) -> Tensor:
    """What errors of its inputs change in an operation's output."""
    match op:
        case ops.MaxPool2d():
            return ops.MaxPool2d(op.kernel, op.stride, op.padding, op.dilation).evaluate(*errors)
        case ops.LeakyRelu():
            return errors[0] * op.slope.abs().clamp(min=1)
        case ops.Relu() | ops.Clamp() | ops.Absolute() | ops.Sigmoid() | ops.Tanh() | ops.Softplus():
            return errors[0]
        case ops.Input():
            return errors[0]
        case _:
            return ops.linear_part(ops.absolute(op)).evaluate(*errors)  # type: ignore[arg-type]
