"""Curvature regularisation, CURE (Moosavi-Dezfooli et al. 2019, equation 5)."""

import torch
from pydantic import Field
from torch import Tensor, nn

from calipers.core.norms import flat, per_sample
from calipers.train.penalties.penalty import PENALTIES
from calipers.train.penalties.slope_penalty import SlopePenalty, labelled, loss_slope


@PENALTIES.add("curvature")
class Curvature(SlopePenalty):
    """mean of ||grad J(x + step z) - grad J(x)||^2, gradients with respect to inputs, over samples that have a label.

    z is the sign of the gradient at x, as a unit vector in l2 and constant: there the loss is most curved. step: h of
    the paper, in units of raw inputs; 1.5 for its CIFAR-10, with weight 4. The quotient by h^2 is left to the weight.
    """

    step: float = Field(default=1.5, gt=0)

    def value(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """See `Penalty`."""
        x, y = labelled(x, y)
        slope = loss_slope(model, x, y)
        sign = slope.detach().sign()
        z = sign / per_sample(flat(sign).norm(dim=1).clamp_min(torch.finfo(sign.dtype).tiny), sign)
        return (loss_slope(model, x + self.step * z, y) - slope).square().sum() / max(1, len(x))
