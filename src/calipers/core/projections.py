"""Euclidean projections on balls around 0."""

import torch
from jaxtyping import Float
from torch import Tensor


def project_l2(u: Float[Tensor, "batch dim"], radius: Float[Tensor, " batch"]) -> Float[Tensor, "batch dim"]:
    """Onto l2 balls."""
    length = u.norm(dim=-1).clamp_min(torch.finfo(u.dtype).tiny)
    return u * (radius / length).clamp_max(1.0)[:, None]


def project_l1(u: Float[Tensor, "batch dim"], radius: Float[Tensor, " batch"]) -> Float[Tensor, "batch dim"]:
    """Onto l1 balls (Duchi et al. 2008, equation 4); rows inside theirs stay as they are."""
    magnitude = u.abs()
    shrunk = (magnitude - l1_threshold(magnitude, radius)).clamp_min(0).copysign(u)
    # Far points leave the rounding of their own size behind; it must not show at the size of the ball.
    total = shrunk.abs().sum(-1, keepdim=True).clamp_min(torch.finfo(u.dtype).tiny)
    shrunk = shrunk * (radius[:, None] / total).clamp_max(1)
    return torch.where(magnitude.sum(-1, keepdim=True) <= radius[:, None], u, shrunk)


def l1_threshold(
    magnitude: Float[Tensor, "batch dim"],
    budget: Float[Tensor, " batch"],
    weights: Float[Tensor, "batch dim"] | None = None,
) -> Float[Tensor, "batch 1"]:
    """The tau >= 0 with sum_i w_i (magnitude_i - tau)+ = budget, weights of 1 unless given; 0 where the sum is less.

    The sum is convex and piecewise linear in tau, so Newton's steps from below never pass the root (Condat 2016,
    section 2). They end when no more values fall under the threshold: a handful of passes, and nothing is sorted.
    """

    def total(values: Tensor) -> Tensor:
        found = values.sum(-1) if weights is None else torch.linalg.vecdot(weights, values)
        return found.unsqueeze(-1)

    budget = budget[:, None]
    if weights is None:
        tau = magnitude.amax(-1, keepdim=True) - budget
        tau = torch.maximum(tau, (total(magnitude) - budget) / magnitude.shape[-1])
    else:
        tau = (magnitude - budget / weights).amax(-1, keepdim=True)
    tau = tau.clamp_min(0)
    excess = (magnitude - tau).clamp_min(0)
    # Signs, not comparisons: numbers are multiplied and added up several times as fast as truth values.
    above = excess.sign()
    count = above.sum(-1, keepdim=True)
    moving = torch.ones_like(tau, dtype=torch.bool)
    while bool(moving.any()):
        step = ((total(excess) - budget) / total(above).clamp_min(torch.finfo(tau.dtype).tiny)).clamp_min(0)
        # A settled row stays as it is, so that it does not depend on the rows around it.
        tau = torch.where(moving, tau + step, tau)
        excess = (magnitude - tau).clamp_min(0)
        above = excess.sign()
        left = above.sum(-1, keepdim=True)
        moving, count = left < count, left
    return tau
