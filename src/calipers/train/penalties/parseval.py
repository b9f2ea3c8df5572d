"""Parseval regularisation (Cisse et al. 2017, section 4): layers that do not lengthen differences."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from calipers.core.errors import InputError
from calipers.train.penalties.penalty import PENALTIES, Penalty


@PENALTIES.add("parseval")
class Parseval(Penalty):
    """Sum over linear and convolution layers of 1/2 ||G - I||_F^2, G the smaller one of W W^T and W^T W (equation 8).

    W is the matrix that the layer applies to each window of inputs, by the scale in `matrices`. Where the penalty is 0
    all rows or all columns are orthonormal, and no layer lengthens a difference in l2. The paper steps down this
    gradient after each update; here it is part of the loss.
    """

    def value(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """See `Penalty`."""
        residuals = [residual(matrix) for layer in _layers(model) for matrix in matrices(layer)]
        return torch.stack(residuals).sum()

    def check(self, model: nn.Module, x: Tensor) -> None:
        """See `Penalty`. Raises InputError for a model without such layers."""
        if not _layers(model):
            kinds = ", ".join(sorted({type(layer).__name__ for layer in model.modules()}))
            raise InputError(f"penalty Parseval: the model has {kinds}; accepted: linear and convolution layers")


def residual(matrix: Float[Tensor, "rows columns"]) -> Float[Tensor, ""]:
    """1/2 ||G - I||_F^2, G the smaller Gram matrix."""
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    return (gram - torch.eye(len(gram)).to(gram)).square().sum() / 2


def matrices(layer: nn.Linear | _ConvNd) -> list[Float[Tensor, "rows columns"]]:
    """What a layer applies to each window, a matrix for each group, times the root of how many windows see an input.

    At most that often a difference counts, so such a matrix that does not lengthen a window makes a layer that does not
    lengthen an input padded with zeros. For stride 1 it is k of a k x k kernel, the paper's (2k + 1)^(1/2).
    """
    if isinstance(layer, nn.Linear):
        return [layer.weight]
    sides = zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)
    seen = math.prod(math.ceil(k / (s // math.gcd(s, d))) for k, s, d in sides)
    return [group.flatten(1) * seen**0.5 for group in layer.weight.chunk(layer.groups)]


def _layers(model: nn.Module) -> list[nn.Linear | _ConvNd]:
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return [layer for layer in model.modules() if isinstance(layer, kinds)]
