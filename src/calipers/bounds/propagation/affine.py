"""Affine functions of the input that enclose a node's value, pushed forward through every operation.

This is the forward mode of linear relaxation (Xu et al. 2020, section 3.2), with any relaxation record.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch

import torch
from jaxtyping import Float
from torch import Tensor

from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.bounds.relaxations.window import views
from calipers.graph import ops


@dataclass(frozen=True, eq=False)
class AffineMap:
    """<coefficient, x> + constant for every entry of a value, x being the inputs that are free."""

    coefficient: Float[Tensor, "batch inputs *shape"]
    constant: Float[Tensor, "batch *shape"]

    def weighted(self, factor: Float[Tensor, "batch *shape"]) -> "AffineMap":
        """Every entry times a number."""
        return AffineMap(self.coefficient * factor.unsqueeze(1), self.constant * factor)

    def shifted(self, constant: Tensor) -> "AffineMap":
        """The map plus a constant that broadcasts over it."""
        return AffineMap(self.coefficient, self.constant + constant)

    def each(self, linear: Callable[[Tensor], Tensor]) -> "AffineMap":
        """The map followed by a linear one, which takes (some, *shape)."""
        return _followed(linear, [self])

    def __add__(self, other: "AffineMap") -> "AffineMap":
        return AffineMap(self.coefficient + other.coefficient, self.constant + other.constant)


@dataclass(frozen=True, eq=False)
class Enclosed:
    """lower(x) - noise <= value(x) <= upper(x) + noise on the input set.

    While both maps are one object, the value is that map but for noise, which is what rounding can change.
    """

    lower: AffineMap
    upper: AffineMap
    noise: Float[Tensor, "batch *shape"]

    @property
    def exact(self) -> bool:
        return self.lower is self.upper

    def size(self, largest: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch *shape"]:
        """What the maps add up at most in absolute values, for inputs of these sizes."""
        sides = [self.lower] if self.exact else [self.lower, self.upper]
        sums = [torch.einsum("bi...,bi->b...", s.coefficient.abs(), largest) + s.constant.abs() for s in sides]
        return sums[0] if self.exact else torch.maximum(sums[0], sums[1])


@singledispatch
def push(op: ops.Op, sources: Sequence[Enclosed], noise: Tensor, relaxation: Relaxation | None) -> Enclosed:
    """The enclosure of an operation's value, given those of its inputs and, for a nonlinearity, its planes.

    noise: of the value: what is passed on of the sources' and what is added, or 0 where the planes have room for it.
    """
    raise TypeError(f"no forward rule for {type(op).__name__}")


@push.register
def _(op: ops.Weighted, sources: Sequence[Enclosed], noise: Tensor, relaxation: Relaxation | None) -> Enclosed:
    low, high = sources[0].lower, sources[0].upper
    constant, none = _at_zero(op, sources), torch.zeros_like(op.bias)
    if sources[0].exact:
        value = low.each(ops.linear_part(op).evaluate).shifted(constant)
        return Enclosed(value, value, noise)
    positive = ops.weighted(op, op.weight.clamp(min=0), none).evaluate
    negative = ops.weighted(op, op.weight.clamp(max=0), none).evaluate
    lower, upper = low.each(positive) + high.each(negative), high.each(positive) + low.each(negative)
    return Enclosed(lower.shifted(constant), upper.shifted(constant), noise)


@push.register
def _(op: ops.Moving, sources: Sequence[Enclosed], noise: Tensor, relaxation: Relaxation | None) -> Enclosed:
    linear, constant = ops.linear_part(op), _at_zero(op, sources)
    lower = _followed(linear.evaluate, [source.lower for source in sources]).shifted(constant)
    if all(source.exact for source in sources):
        return Enclosed(lower, lower, noise)
    upper = _followed(linear.evaluate, [source.upper for source in sources]).shifted(constant)
    return Enclosed(lower, upper, noise)


@push.register
def _(op: ops.Elementwise, sources: Sequence[Enclosed], noise: Tensor, relaxation: Relaxation | None) -> Enclosed:
    return _between_planes(op, sources[0], noise, relaxation, lambda slope, own: own.weighted(slope))


@push.register
def _(op: ops.MaxPool2d, sources: Sequence[Enclosed], noise: Tensor, relaxation: Relaxation | None) -> Enclosed:
    def dot(slope: Tensor, own: AffineMap) -> AffineMap:
        """Pixel by pixel: all pixels of the coefficients at once would take many times their memory."""
        coefficient = views(op, own.coefficient.flatten(0, 1), 0.0)
        constant = views(op, own.constant, 0.0)
        size = own.coefficient.shape[:2]
        parts = (
            AffineMap(c.unflatten(0, size), k).weighted(slope[:, pixel])
            for pixel, (c, k) in enumerate(zip(coefficient, constant, strict=True))
        )
        total = next(parts)
        for part in parts:
            total = total + part
        return total

    return _between_planes(op, sources[0], noise, relaxation, dot)


def _between_planes(
    op: ops.Op,
    source: Enclosed,
    noise: Tensor,
    relaxation: Relaxation | None,
    dot: Callable[[Tensor, AffineMap], AffineMap],
) -> Enclosed:
    """The planes over the enclosure. Below, a positive slope meets the lower map and a negative one the upper."""
    if relaxation is None:
        raise ValueError(f"{type(op).__name__} has no relaxation")

    def plane(slope: Tensor, bias: Tensor, own: AffineMap, other: AffineMap) -> AffineMap:
        if bool((slope >= 0).all()):
            return dot(slope, own).shifted(bias)
        return (dot(slope.clamp(min=0), own) + dot(slope.clamp(max=0), other)).shifted(bias)

    r = relaxation
    lower = plane(r.lower_slope, r.lower_bias, source.lower, source.upper)
    return Enclosed(lower, plane(r.upper_slope, r.upper_bias, source.upper, source.lower), noise)


def _followed(linear: Callable[..., Tensor], maps: Sequence[AffineMap]) -> AffineMap:
    size = maps[0].coefficient.shape[:2]
    coefficient = linear(*(one.coefficient.flatten(0, 1) for one in maps)).unflatten(0, size)
    return AffineMap(coefficient, linear(*(one.constant for one in maps)))


def _at_zero(op: ops.Op, sources: Sequence[Enclosed]) -> Tensor:
    return op.evaluate(*(torch.zeros_like(source.lower.constant[:1]) for source in sources))
