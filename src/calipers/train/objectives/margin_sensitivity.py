"""How fast the margin to another class can fall: the penalty of margin maximisation (Matyasko 2020, section 3.4)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from calipers.core.norms import Norm
from calipers.train.twice import dual_size, slopes


def sensitivity(
    logits: Float[Tensor, "batch classes"],
    x: Float[Tensor, "batch *shape"],
    y: Int[Tensor, " batch"],
    norm: Norm,
    rivals: int | None,
) -> Float[Tensor, " batch"]:
    """||grad f_j - grad f_y|| in the dual of the margin's norm, differentiable in the weights, j from `steepest_rival`.

    logits: with their graph from x.
    """
    other = steepest_rival(logits, x, y, norm, rivals)
    gap = logits.gather(1, other[:, None]) - logits.gather(1, y[:, None])
    (slope,) = torch.autograd.grad(gap.sum(), x, create_graph=True)
    return dual_size(slope, norm)


def steepest_rival(
    logits: Float[Tensor, "batch classes"],
    x: Float[Tensor, "batch *shape"],
    y: Int[Tensor, " batch"],
    norm: Norm,
    rivals: int | None,
) -> Int[Tensor, " batch"]:
    """The class other than y for which ||grad f_j - grad f_y|| is largest, in the dual norm.

    rivals: only so many classes come into question, those with the largest logits; None: all. A backward pass
    each, whose graph is not kept: the choice counts as constant.
    """
    classes = logits.shape[1]
    own = F.one_hot(y, classes)
    others = logits.detach().masked_fill(own.bool(), -torch.inf)
    chosen = others.topk(min(rivals or classes, classes - 1)).indices
    if chosen.shape[1] == 1:
        return chosen[:, 0]
    rows = (F.one_hot(chosen, classes) - own[:, None]).transpose(0, 1).to(logits)
    steepest = norm.dual(slopes(logits, x, rows).flatten(2)).argmax(0)
    return chosen.gather(1, steepest[:, None])[:, 0]


def geometric_margin(
    logits: Float[Tensor, "batch classes"], x: Float[Tensor, "batch *shape"], y: Int[Tensor, " batch"], norm: Norm
) -> Float[Tensor, " batch"]:
    """Distance to the nearest boundary of the label's class if logits are linear, below 0 where the label is not
    predicted: min over j of (f_y - f_j) / ||grad f_y - grad f_j||, the norm the dual one (equation 3.17, with a sign).

    The mean over samples is the average margin of equation 3.6. logits: with their graph from x.
    """
    gaps, size = _all_rivals(logits, x, y, norm)
    return (-gaps / size.clamp_min(torch.finfo(logits.dtype).tiny)).amin(1)


def first_order_worst(
    logits: Float[Tensor, "batch classes"],
    x: Float[Tensor, "batch *shape"],
    y: Int[Tensor, " batch"],
    norm: Norm,
    radius: float,
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """(largest hinge within a ball if logits were linear, what margin maximisation minimises in its place).

    The first: max over j of (1 + f_j - f_y + radius ||grad f_j - grad f_y||)_+, j other than y, the ball in `norm`. The
    second, never below it: max over j of (1 + f_j - f_y)_+ plus radius times the sensitivity to all classes, the bound
    of theorems 3.4.1 (two classes, where both are the same while the hinge is active) and 3.4.2. Neither bounds the
    hinge of a nonlinear model. logits: with their graph from x.
    """
    gaps, size = _all_rivals(logits, x, y, norm)
    hinges = (1 + gaps).clamp_min(0).amax(1)
    return (1 + gaps + radius * size).amax(1).clamp_min(0), hinges + radius * size.amax(1)


def _all_rivals(
    logits: Float[Tensor, "batch classes"], x: Float[Tensor, "batch *shape"], y: Int[Tensor, " batch"], norm: Norm
) -> tuple[Float[Tensor, "batch rivals"], Float[Tensor, "batch rivals"]]:
    """(f_j - f_y, ||grad f_j - grad f_y|| in the dual norm) for every class j other than y."""
    classes = logits.shape[1]
    others = torch.arange(classes - 1, device=y.device)
    rivals = others + (others >= y[:, None])
    rows = (F.one_hot(rivals, classes) - F.one_hot(y, classes)[:, None]).transpose(0, 1).to(logits)
    size = norm.dual(slopes(logits, x, rows).flatten(2)).transpose(0, 1)
    return logits.detach().gather(1, rivals) - logits.detach().gather(1, y[:, None]), size
