"""What samples have to keep after a repair: right at points, on boxes of features, or on whole input balls.

Each requirement is an intersection of linear constraints on the weights, one per point of its set of features; it hands
out those of its worst points, which is what a cutting-plane method asks for. All three speak of the last layer.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from calipers.bounds import WorkBudget
from calipers.bounds.propagation.linear import FUSED, Propagation, specification_bounds
from calipers.core.problem import Specification
from calipers.core.sets import InputSet
from calipers.repairs.layers import Cut
from calipers.repairs.rows import Rows


@runtime_checkable
class Requirement(Protocol):
    """Samples with what has to hold for each. margin: of the label's output over all others, at least."""

    @property
    def margin(self) -> float: ...

    def __len__(self) -> int: ...

    def violated(self, cut: Cut, weight: Float[np.ndarray, "outputs inputs"], floor: float) -> Rows:
        """Constraints on weight - cut.weight: the worst point of every margin that is below this share of `margin`."""


@dataclass(frozen=True, eq=False)
class AtPoints:
    """Margins of at least `margin` over all other classes, at fixed inputs of the last layer.

    features: with the 1 of a bias. sample: the user's numbers.
    """

    features: Float[np.ndarray, "samples inputs"]
    labels: Int[np.ndarray, " samples"]
    margin: float
    sample: Int[np.ndarray, " samples"]

    def __len__(self) -> int:
        return len(self.labels)

    def violated(self, cut: Cut, weight: Float[np.ndarray, "outputs inputs"], floor: float) -> Rows:
        """See `Requirement`."""
        outputs = self.features @ weight.T
        margins = outputs[np.arange(len(self)), self.labels][:, None] - outputs
        margins[np.arange(len(self)), self.labels] = np.inf
        at, other = np.nonzero(margins < floor * self.margin)
        return rows_of(cut, self.features[at], self.labels[at], other, (self.margin, self.sample[at]))


@dataclass(frozen=True, eq=False)
class OnBoxes:
    """The same wherever the features are in boxes, such as interval bounds over an input ball."""

    lower: Float[np.ndarray, "samples inputs"]
    upper: Float[np.ndarray, "samples inputs"]
    labels: Int[np.ndarray, " samples"]
    margin: float
    sample: Int[np.ndarray, " samples"]

    def __len__(self) -> int:
        return len(self.labels)

    def violated(self, cut: Cut, weight: Float[np.ndarray, "outputs inputs"], floor: float) -> Rows:
        """See `Requirement`; a box's worst point is a corner."""
        corners, at, other = [], [], []
        for i, label in enumerate(self.labels):
            direction = weight[label] - np.delete(weight, label, axis=0)
            corner = np.where(direction > 0, self.lower[i], self.upper[i])
            short = np.einsum("kn,kn->k", direction, corner) < floor * self.margin
            corners.append(corner[short])
            at += [i] * int(short.sum())
            other += np.delete(np.arange(len(weight)), label)[short].tolist()
        points = np.concatenate(corners) if corners else np.zeros((0, weight.shape[1]))
        places = np.array(at, dtype=np.int64)
        others = np.array(other, dtype=np.int64)
        return rows_of(cut, points, self.labels[places], others, (self.margin, self.sample[places]))


@dataclass(frozen=True, eq=False)
class OnBalls:
    """The same on whole input balls, by linear bounds from the inputs to the features.

    Over planes that are fixed, the bound of a margin is the least over a polytope of features, so it is concave in the
    weights; its gradient is the worst point. propagations: the planes, one per part of the balls.
    """

    balls: tuple[InputSet, ...]
    propagations: tuple[Propagation, ...]
    labels: Int[np.ndarray, " samples"]
    margin: float
    sample: Int[np.ndarray, " samples"]
    budget: WorkBudget

    @classmethod
    def over(
        cls, cut: Cut, balls: InputSet, labels: np.ndarray, margin: float, sample: np.ndarray, budget: WorkBudget
    ) -> "OnBalls":
        """Bound the layer's inputs over the balls."""
        parts = tuple(balls[i : i + _TOGETHER] for i in range(0, len(balls), _TOGETHER))
        propagations = tuple(FUSED.propagate(cut.before, part, budget) for part in parts)
        return cls(parts, propagations, labels, margin, sample, budget)

    def __len__(self) -> int:
        return len(self.labels)

    def violated(self, cut: Cut, weight: Float[np.ndarray, "outputs inputs"], floor: float) -> Rows:
        """See `Requirement`."""
        classes, first = len(weight), 0
        points, at, other = [], [], []
        for ball, propagation in zip(self.balls, self.propagations, strict=True):
            labels = self.labels[first : first + len(ball)]
            others = np.stack([np.delete(np.arange(classes), label) for label in labels])
            direction = weight[labels][:, None] - weight[others]
            worst, value = _worst(cut, direction, ball, propagation, self.budget)
            i, k = np.nonzero(value < floor * self.margin)
            points.append(worst[i, k])
            at += (first + i).tolist()
            other += others[i, k].tolist()
            first += len(ball)
        places, ranks = np.array(at, dtype=np.int64), np.array(other, dtype=np.int64)
        return rows_of(cut, np.concatenate(points), self.labels[places], ranks, (self.margin, self.sample[places]))


# Balls whose planes are made together.
_TOGETHER = 16


def rows_of(
    cut: Cut,
    points: Float[np.ndarray, "rows inputs"],
    labels: Int[np.ndarray, " rows"],
    others: Int[np.ndarray, " rows"],
    asked: tuple[float, Int[np.ndarray, " rows"]],
) -> Rows:
    """The constraints that at each point the label's output exceeds another's. asked: by how much, and of whom."""
    margin, sample = asked
    identity = np.eye(len(cut.weight))
    left = identity[labels] - identity[others]
    now = np.einsum("ro,ro->r", left, points @ cut.weight.T)
    return Rows(left, points, margin - now, sample)


def _worst(
    cut: Cut, direction: np.ndarray, ball: InputSet, propagation: Propagation, budget: WorkBudget
) -> tuple[np.ndarray, np.ndarray]:
    """The points of the layer's inputs (balls, rows, inputs) at which directions are least, and the bound there."""
    along = torch.from_numpy(direction[..., : cut.features]).to(ball.center).requires_grad_()
    offset = torch.zeros(along.shape[:2], dtype=along.dtype, device=along.device)
    bound = specification_bounds(propagation, ball, Specification(along, offset), budget).lower
    (points,) = torch.autograd.grad(bound.sum(), along)
    exact = bound.detach().cpu().double().numpy()
    if cut.layer.bias is not None:
        exact = exact + direction[..., -1]
    flat = points.cpu().double().numpy()
    completed = cut.completed(flat.reshape(-1, cut.features)).reshape(*flat.shape[:2], -1)
    return completed, exact


def boxes_over(
    cut: Cut, balls: InputSet, labels: np.ndarray, margin: float, sample: np.ndarray, budget: WorkBudget
) -> OnBoxes:
    """`OnBoxes` for the bounds of the layer's inputs over input balls: linear ones up to the last nonlinearity."""
    sides: list[tuple[Tensor, Tensor]] = []
    for i in range(0, len(balls), _TOGETHER):
        box = FUSED.propagate(cut.before, balls[i : i + _TOGETHER], budget).bounds[-1]
        sides.append((box.lower, box.upper))
    lower, upper = (
        cut.completed(torch.cat(side).flatten(1).cpu().double().numpy()) for side in zip(*sides, strict=True)
    )
    return OnBoxes(lower, upper, labels, margin, sample)
