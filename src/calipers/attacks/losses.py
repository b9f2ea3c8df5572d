"""Losses that attacks make large, as functions of the rows of a specification."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Loss = Callable[[Float[Tensor, "active rows"]], Float[Tensor, " active"]]


def cross_entropy(margins: Float[Tensor, "active rows"]) -> Float[Tensor, " active"]:
    """log(1 + sum_j exp(-m_j)): for the rows f_y - f_j it is the softmax cross-entropy of the label y."""
    return torch.logsumexp(torch.cat([torch.zeros_like(margins[:, :1]), -margins], dim=1), dim=1)


def log_odds(margins: Float[Tensor, "active rows"]) -> Float[Tensor, " active"]:
    """The logarithm of sum_j exp(-m_j): its gradient points as that of the cross-entropy does, and never vanishes."""
    return torch.logsumexp(-margins, dim=1)


def smallest_margin(margins: Float[Tensor, "active rows"]) -> Float[Tensor, " active"]:
    """Minus the smallest row: the margin loss of Carlini & Wagner (2017), without its cut-off."""
    return -margins.amin(1)
