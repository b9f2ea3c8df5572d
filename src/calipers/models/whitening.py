"""Fixed first layers: global contrast normalisation and ZCA whitening (Coates, Lee & Ng 2011; Krizhevsky 2009).

As in pylearn2, whose preprocessed CIFAR-10 the experiments with Network in Network used: contrasts of length 55, and
0.1 added to the variances.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from calipers.core.errors import InputError

# Above what rounding leaves of an image of one colour, below any image of 8-bit values that has two.
_LEAST_CONTRAST = 1e-3
_BATCH = 1000


class GlobalContrast(nn.Module):
    """length * (x - mean(x)) / ||x - mean(x)||_2, each over all values of an image; x is (batch, *shape).

    Images with a contrast below 1e-3 are divided by that, so that one of a single colour becomes 0.
    """

    length: Tensor

    def __init__(self, length: float = 55.0) -> None:
        super().__init__()
        self.register_buffer("length", torch.tensor(length))

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        dims = tuple(range(1, x.dim()))
        centred = x - x.mean(dims, keepdim=True)
        contrast = centred.square().sum(dims, keepdim=True).clamp_min(_LEAST_CONTRAST**2).sqrt()
        return centred * (self.length / contrast)


class ZCA(nn.Module):
    """matrix (x - mean), an affine map of flattened images (batch, *shape); the identity until it is fitted."""

    mean: Tensor
    matrix: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        values = math.prod(shape)
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("matrix", torch.eye(values))

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        return nn.functional.linear(x.flatten(1) - self.mean, self.matrix).reshape(x.shape)


class Whitening(nn.Module):
    """Global contrast normalisation, then ZCA whitening; `fit` sets the statistics, which are buffers.

    shape: of one image. length: of a contrast. They are no trainable weights, and stand in state dicts.
    """

    def __init__(self, shape: tuple[int, ...], length: float = 55.0) -> None:
        super().__init__()
        self.shape = shape
        self.contrast = GlobalContrast(length)
        self.zca = ZCA(shape)

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        return self.zca(self.contrast(x))

    @torch.no_grad()
    def fit(self, images: Float[Tensor, "images *shape"], regularisation: float = 0.1) -> "Whitening":
        """Mean and (covariance + regularisation)^(-1/2) of the images' contrasts, on the CPU, in double precision.

        Raises InputError for images of another shape, for fewer than two, and for a regularisation that is not > 0.
        """
        if tuple(images.shape[1:]) != self.shape:
            raise InputError(f"whitening: images have shape {tuple(images.shape[1:])}; accepted: {self.shape}")
        if len(images) < 2 or not regularisation > 0:
            raise InputError(
                f"whitening: {len(images)} images and regularisation {regularisation:g}; accepted: at least 2, and > 0"
            )
        count, size = len(images), len(self.zca.mean)
        total, products = torch.zeros(size, dtype=torch.float64), torch.zeros(size, size, dtype=torch.float64)
        for part in images.split(_BATCH):
            values = self.contrast(part.double()).flatten(1)
            total += values.sum(0)
            products += values.T @ values
        mean = total / count
        variances, directions = torch.linalg.eigh(products / count - mean.outer(mean))
        matrix = (directions * (variances.clamp_min(0) + regularisation).rsqrt()) @ directions.T
        self.zca.mean.copy_(mean)
        self.zca.matrix.copy_((matrix + matrix.T) / 2)
        return self


class Whitened(nn.Module):
    """A network behind fixed first layers: net(whitening(x)), x raw images (batch, *shape)."""

    def __init__(self, whitening: Whitening, net: nn.Module) -> None:
        super().__init__()
        self.whitening = whitening
        self.net = net

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Tensor:
        return self.net(self.whitening(x))
