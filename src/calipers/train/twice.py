"""Gradients with respect to inputs, inside losses: what has to be differentiated twice."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from calipers.core.errors import InputError
from calipers.core.modes import evaluating
from calipers.core.norms import Norm, flat
from calipers.train.objective import DataShape

# Under the square root of the l2 norm, whose gradient at 0 would be infinite.
_EPSILON = 1e-12
# Backward passes in one batch.
_TOGETHER = 3


def check_twice_differentiable(name: str, model: nn.Module, shape: DataShape) -> None:
    """Raise InputError unless a gradient of the log-probabilities can be differentiated again. name: of who asks."""
    x = torch.zeros(2, *shape.inputs).to(next(model.parameters())).requires_grad_(True)
    try:
        with evaluating(model):
            (slope,) = torch.autograd.grad(model(x).log_softmax(1)[:, 0].sum(), x, create_graph=True)
            slope.sum().backward()
    except RuntimeError as error:
        raise InputError(
            f"{name}: gradients of the model cannot be differentiated ({error}); accepted: layers whose can"
        ) from error
    finally:
        model.zero_grad(set_to_none=True)


def logits_twice(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(logits for the loss, logits for its gradients at x, x as these know it); the model is in train mode.

    The second logits are those in eval mode, with gradients of the weights: in train mode BatchNorm makes one sample's
    logits depend on the others, and dropout draws. Both are one pass where no layer behaves differently in train mode.
    """
    here = x.detach().requires_grad_(True)
    if not any(isinstance(layer, (_BatchNorm, _DropoutNd)) for layer in model.modules()):
        logits = model(here)
        return logits, logits, here
    # BatchNorm's statistics change here, so the pass that is differentiated twice comes after.
    logits = model(x)
    with evaluating(model):
        return logits, model(here), here


def two_sided(logits: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch classes"]:
    """Logits of two classes from a single output f, class 1 where it is positive: -f/2 and f/2. Others stay."""
    return torch.cat([-logits, logits], 1) / 2 if logits.shape[1] == 1 else logits


def dual_size(slope: Float[Tensor, "batch *shape"], norm: Norm) -> Float[Tensor, " batch"]:
    """The norm of gradients that is dual to `norm`, with a gradient of its own everywhere."""
    if norm is Norm.L2:
        return (flat(slope).square().sum(1) + _EPSILON).sqrt()
    return norm.dual(flat(slope))


def slopes(
    logits: Float[Tensor, "batch classes"],
    x: Float[Tensor, "batch *shape"],
    rows: Float[Tensor, "rows batch classes"],
    *,
    create_graph: bool = False,
) -> Float[Tensor, "rows batch *shape"]:
    """Gradients at x of the sums of logits that rows weight; the graph of the logits stays.

    Some at a time: together they are one larger batch, which is faster where layers are small and slower where they are
    convolutions that leave the cache.
    """
    parts = [
        torch.autograd.grad(logits, x, part, create_graph=create_graph, retain_graph=True, is_grads_batched=True)[0]
        for part in rows.split(_TOGETHER)
    ]
    return torch.cat(parts)
