"""Rows of linear functionals on their way from one node back to the input.

Rows that start at a convolution see only its receptive field, so their coefficients live in a window that grows on
the way back; rows of one place in one image form a group and share that window.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from calipers.bounds.rounding import PIECE


@dataclass(frozen=True, eq=False)
class Rows:
    """Functionals <coefficient, value> + constant of the value of one node.

    coefficient: (groups, rows, *shape) over the whole value, or (groups, rows, channels, h, w) over a window of it.
    constant: (sides, groups, rows); side 0 belongs to the lower bound, side 1, where there is one, to the upper.
    image: the image of the batch that a group belongs to. corner: the window's first row and column, which may lie
    outside the value; None where the coefficients cover the whole value. shape: of the node's value.
    mirrored: the second half of the rows are the first half negated; their lower bounds are upper bounds.
    """

    coefficient: Float[Tensor, "groups rows *dims"]
    constant: Float[Tensor, "sides groups rows"]
    image: Int[Tensor, " groups"]
    corner: Int[Tensor, "groups 2"] | None
    shape: tuple[int, ...]
    mirrored: bool = False

    @property
    def window(self) -> tuple[int, int]:
        """Height and width that the coefficients cover."""
        return (self.coefficient.shape[-2], self.coefficient.shape[-1])

    def spread(self, values: Tensor) -> Tensor:
        """Per-image values (batch, *shape) laid under the coefficients: (groups, 1, *dims), zero outside the value."""
        if self.corner is not None:
            return windows(values, self.image, self.corner, self.window).unsqueeze(1)
        if channels_lie_last(self.coefficient):
            return values.movedim(1, -1)[self.image].movedim(-1, 1).unsqueeze(1)
        return values[self.image].unsqueeze(1)

    def signs(self) -> "tuple[Rows, Rows]":
        """The rows with their positive coefficients only, and with their negative ones.

        What a lower bound takes of two planes, each with its own part: no comparison per use, and no sum that cancels.
        """
        coefficient = self.coefficient
        return replace(self, coefficient=coefficient.clamp(min=0)), replace(self, coefficient=coefficient.clamp(max=0))

    def constants(self, values: Tensor) -> Tensor:
        """Constants that are equal for all images, broadcast over the shape, laid under the coefficients."""
        if self.corner is None:
            return values
        if values.shape[-2:] == (1, 1):
            return values
        full = values.expand(self.shape).unsqueeze(0)
        return windows(full, torch.zeros_like(self.image), self.corner, self.window).unsqueeze(1)

    def dot(self, values: Tensor) -> Float[Tensor, "groups rows"]:
        """<coefficient, values> for values that broadcast against the coefficients."""
        if values.dim() == self.coefficient.dim() and values.shape[1] == 1:
            return self._product(values)
        products = (self.coefficient * values).flatten(2)
        return torch.stack([piece.sum(2) for piece in products.split(PIECE, 2)]).sum(0)

    def _product(self, values: Float[Tensor, "groups one *dims"]) -> Float[Tensor, "groups rows"]:
        """`dot` as a product of matrices, which reads the coefficients once and writes nothing of their size."""
        coefficient, values = self.coefficient, values.expand_as(self.coefficient[:, :1])
        if channels_lie_last(coefficient):
            coefficient, values = coefficient.movedim(2, -1), values.movedim(2, -1)
        # The values from the left: the library is several times slower the other way round.
        return _in_pieces(values.flatten(2), coefficient.flatten(2).mT).squeeze(1)

    def extremes(self, middle: Tensor, radius: Tensor) -> Float[Tensor, "sides groups rows"]:
        """The constants plus the extremes over values, (batch, *shape), that are at most `radius` from the middle."""
        centre, reach = self.dot(self.spread(middle)), self.absolute().dot(self.spread(radius))
        return self.around(centre, reach)

    def around(self, middle: Float[Tensor, "groups rows"], radius: Float[Tensor, "groups rows"]) -> Tensor:
        """The constants plus the ends of intervals, by side."""
        return self.constant + torch.stack([middle - radius, middle + radius][: len(self.constant)])

    def within(self, noise: Tensor, error: float) -> "Rows":
        """Room for rounding: lower bounds fall, upper ones rise.

        noise: of the node's value, (batch, *shape). error: relative, of the sums that the constants will take part in.
        """
        lost = self.absolute().dot(self.spread(noise)) + error * self.constant.abs().amax(0)
        return replace(self, constant=self.constant + torch.stack([-lost, lost][: len(self.constant)]))

    def absolute(self) -> "Rows":
        """The rows with the absolute values of their coefficients."""
        return replace(self, coefficient=self.coefficient.abs())

    def split(self) -> "Rows":
        """Two-sided rows as one-sided ones, each followed by its negative: from here on the sides go different ways."""
        if len(self.constant) == 1:
            return self
        axis = 2 if channels_lie_last(self.coefficient) else -1
        moved = self.coefficient.movedim(axis, -1)
        coefficient = torch.cat([moved, -moved], dim=1).movedim(-1, axis)
        constant = torch.cat([self.constant[:1], -self.constant[1:]], dim=2)
        return replace(self, coefficient=coefficient, constant=constant, mirrored=True)

    def dense(self) -> "Rows":
        """The same rows over the whole value."""
        if self.corner is None:
            return self
        coefficient = self.coefficient.movedim(2, -1)
        for axis, size in enumerate(self.shape[1:]):
            source = torch.arange(size, device=coefficient.device) - self.corner[:, axis, None]
            inside = (source >= 0) & (source < coefficient.shape[2 + axis])
            shape = [len(source), 1, 1, 1, 1]
            shape[2 + axis] = size
            index = source.clamp(0, coefficient.shape[2 + axis] - 1).reshape(shape)
            target = list(coefficient.shape)
            target[2 + axis] = size
            coefficient = coefficient.gather(2 + axis, index.expand(target)) * inside.reshape(shape)
        return replace(self, coefficient=coefficient.movedim(-1, 2), corner=None)

    def __add__(self, other: "Rows") -> "Rows":
        """Sum of two sets of rows that reached one node by different paths."""
        one, two = self, other
        if one.mirrored or two.mirrored:
            one, two = one.split(), two.split()
        if not _same_place(one, two):
            one, two = _in_one_place(one, two)
        return replace(one, coefficient=one.coefficient + two.coefficient, constant=one.constant + two.constant)


def _same_place(one: Rows, two: Rows) -> bool:
    if one.corner is None or two.corner is None:
        return one.corner is two.corner
    return one.window == two.window and torch.equal(one.corner, two.corner)


def _in_one_place(one: Rows, two: Rows) -> tuple[Rows, Rows]:
    """The same rows over the smallest window that holds both; over the whole value where none is smaller."""
    if one.corner is None or two.corner is None:
        return one.dense(), two.dense()
    apart = two.corner - one.corner
    if bool((apart != apart[:1]).any()):
        return one.dense(), two.dense()
    corner = torch.minimum(one.corner, two.corner)
    last = torch.maximum(one.corner + corner.new_tensor(one.window), two.corner + corner.new_tensor(two.window))
    height, width = (last - corner)[0].tolist() if len(corner) else (0, 0)
    if height * width >= one.shape[1] * one.shape[2]:
        return one.dense(), two.dense()

    def laid(rows: Rows) -> Rows:
        assert rows.corner is not None
        top, left = (rows.corner - corner)[0].tolist() if len(corner) else (0, 0)
        bottom, right = height - top - rows.window[0], width - left - rows.window[1]
        # Channels stay last in memory.
        coefficient = F.pad(rows.coefficient.movedim(2, -1), (0, 0, left, right, top, bottom)).movedim(-1, 2)
        return replace(rows, coefficient=coefficient, corner=corner)

    return laid(one), laid(two)


def _in_pieces(
    left: Float[Tensor, "groups one entries"], right: Float[Tensor, "groups entries rows"]
) -> Float[Tensor, "groups one rows"]:
    """The product of matrices by sums over PIECE entries at most, at most one more of them than needed."""
    entries = right.shape[1]
    pieces = math.ceil(entries / PIECE)
    if pieces == 1:
        return left @ right
    if pieces <= len(right):
        parts = [one @ two for one, two in zip(left.split(PIECE, 2), right.split(PIECE, 1), strict=True)]
        return torch.stack(parts).sum(0)
    # A few long sums: all pieces of a group at once, what is left over as one more.
    length = entries // pieces
    whole = length * pieces
    total = []
    for one, two in zip(left, right, strict=True):
        cut = one[:, :whole].unflatten(1, (pieces, length)).transpose(0, 1)
        total.append((cut @ two[:whole].unflatten(0, (pieces, length))).sum(0))
    return torch.stack(total) + left[..., whole:] @ right[:, whole:] if total else left @ right


def clip_to_value(
    coefficient: Tensor, corner: Int[Tensor, "groups 2"], shape: tuple[int, ...]
) -> Float[Tensor, "groups rows c h w"]:
    """Zero the coefficients of window places outside a value of `shape`: padding is constant, not a variable."""
    for axis in (0, 1):
        place = corner[:, axis, None] + torch.arange(coefficient.shape[3 + axis], device=corner.device)
        outside = (place < 0) | (place >= shape[1 + axis])
        if bool(outside.any()):
            mask = (~outside).to(coefficient.dtype)
            coefficient = coefficient * (mask[:, None, None, :, None] if axis == 0 else mask[:, None, None, None, :])
    return coefficient


def windows(
    values: Float[Tensor, "batch c h w"],
    image: Int[Tensor, " groups"],
    corner: Int[Tensor, "groups 2"],
    size: tuple[int, int],
) -> Float[Tensor, "groups c kh kw"]:
    """The windows of `size` at `corner` of each group's image, zero outside the value."""
    # Only the images that are asked for are worth a copy with padding.
    start = int(image.amin())
    values, image = values[start : int(image.amax()) + 1], image - start
    height, width = values.shape[-2:]
    first = corner.amin(0).clamp_max(0).neg()
    last = corner.amax(0)
    top, left = int(first[0]), int(first[1])
    bottom = max(0, int(last[0]) + size[0] - height)
    right = max(0, int(last[1]) + size[1] - width)
    padded = F.pad(values, (left, right, top, bottom)) if max(left, right, top, bottom) > 0 else values
    views = padded.unfold(2, size[0], 1).unfold(3, size[1], 1).permute(0, 2, 3, 4, 5, 1)
    return views[image, corner[:, 0] + top, corner[:, 1] + left].movedim(-1, 1)


def channels_lie_last(coefficient: Tensor) -> bool:
    """Whether neighbours in memory belong to one place. Windows are small, and only so their loops are long."""
    return coefficient.dim() == 5 and coefficient.stride(2) == 1 and coefficient.shape[2] > 1
