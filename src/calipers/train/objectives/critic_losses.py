"""What the two players of the adversary critic minimise (Matyasko 2020, equations 4.3 to 4.5).

Equations 4.3 and 4.4 are printed with the wrong sign: both players would lose what they should win.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


def critic_loss(
    critic: nn.Module,
    natural: tuple[Float[Tensor, "natural *shape"], Int[Tensor, " natural"]],
    adversarial: tuple[Float[Tensor, "adversarial *shape"], Int[Tensor, " adversarial"]],
    penalty: float,
) -> Tensor:
    """Cross-entropy of telling the two apart, each at the output of its class, plus the penalised gradients at both.

    natural, adversarial: inputs with their classes. penalty: weight of `gradient_penalty`.
    """
    loss = torch.zeros((), device=natural[0].device)
    for (x, classes), is_natural in ((natural, 1.0), (adversarial, 0.0)):
        here = x.detach().requires_grad_(True)
        told = _of_class(critic(here), classes)
        loss = loss + F.binary_cross_entropy_with_logits(told, torch.full_like(told, is_natural))
        loss = loss + penalty * gradient_penalty(told, here)
    return loss


def gradient_penalty(outputs: Float[Tensor, " batch"], x: Float[Tensor, "batch *shape"]) -> Tensor:
    """Mean squared difference of the norm of the gradient from 1, at the inputs themselves (Gulrajani et al. 2017)."""
    (slope,) = torch.autograd.grad(outputs.sum(), x, create_graph=True)
    return (slope.flatten(1).square().sum(1).clamp_min(1e-12).sqrt() - 1).square().mean()


def fooling_loss(
    critic: nn.Module, x: Float[Tensor, "batch *shape"], classes: Int[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Cross-entropy of the critic's taking adversarial inputs for natural ones of their class; 0 without inputs."""
    if not len(x):
        return x.new_zeros(())
    told = _of_class(critic(x), classes)
    return F.binary_cross_entropy_with_logits(told, torch.ones_like(told))


def cycle_loss(x: Float[Tensor, "batch *shape"], back: Float[Tensor, "batch *shape"]) -> Float[Tensor, ""]:
    """Mean squared l2 distance of inputs from what an attack there and an attack back made of them; 0 without inputs.

    Equation 4.5 prints the distance itself; the author's code, which made the published figures, squares it.
    """
    return (back - x).flatten(1).square().sum(1).sum() / max(1, len(x))


def _of_class(outputs: Float[Tensor, "batch classes"], classes: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    return outputs.gather(1, classes[:, None])[:, 0]
