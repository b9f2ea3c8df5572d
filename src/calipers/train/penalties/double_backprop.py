"""Double backpropagation (Drucker & Le Cun 1991): a loss that hardly changes near the samples."""

from typing import Literal

from torch import Tensor, nn

from calipers.core.norms import Norm
from calipers.train.penalties.penalty import PENALTIES
from calipers.train.penalties.slope_penalty import SlopePenalty, labelled, loss_slope
from calipers.train.twice import dual_size


@PENALTIES.add("double-backprop")
class DoubleBackprop(SlopePenalty):
    """mean of ||grad_x J(x, y)||^power, the norm dual to `norm`, over the samples that have a label.

    norm: of the perturbations to which the loss should be insensitive. Theirs, and Ross & Doshi-Velez's (2018), is the
    square in l2; for the norm itself in linf it is the first order of FGSM's loss (Simon-Gabriel et al. 2019).
    """

    norm: Norm = Norm.L2
    power: Literal[1, 2] = 2

    def value(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """See `Penalty`."""
        x, y = labelled(x, y)
        return dual_size(loss_slope(model, x, y), self.norm).pow(self.power).sum() / max(1, len(x))
