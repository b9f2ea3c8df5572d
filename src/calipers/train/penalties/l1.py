"""Small weights, many of them zero."""

import torch
from torch import Tensor, nn

from calipers.train.penalties.penalty import PENALTIES, Penalty


@PENALTIES.add("l1")
class L1(Penalty):
    """The sum of the absolute values of weights, not of biases and BatchNorm's."""

    def value(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """See `Penalty`."""
        return torch.stack([p.abs().sum() for p in model.parameters() if p.dim() > 1]).sum()
