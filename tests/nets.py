"""Small random networks and input sets for property tests."""

import torch
from torch import Tensor, nn

from calipers.core.norms import Norm
from calipers.core.sets import Box, InputSet, LpBall
from calipers.graph.from_torch import from_module
from calipers.graph.graph import Graph

FAMILIES = ("mlp", "conv", "pooled", "padded", "overlap", "pool-first", "residual", "normalised")


class Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Shift(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.4) / 0.3


def random_net(family: str, seed: int) -> tuple[nn.Sequential, tuple[int, ...]]:
    """A network of a family with random weights and sizes, and its input shape; 3 outputs."""
    torch.manual_seed(seed)
    size = 5 + seed % 3
    shape: tuple[int, ...] = (1 + seed % 2, size, size + seed % 2)
    c = shape[0]
    layers: list[nn.Module]
    match family:
        case "mlp":
            shape = (4 + seed % 4,)
            layers = [nn.Linear(shape[0], 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU()]
        case "conv":
            layers = [nn.Conv2d(c, 3, 3, 1 + seed % 2, 1), nn.ReLU(), nn.Conv2d(3, 4, 2), nn.ReLU()]
        case "pooled":
            layers = [nn.Conv2d(c, 3, 2), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Conv2d(3, 3, 2, 1, 1), nn.ReLU()]
        case "padded":
            pool = nn.MaxPool2d(3, 2, padding=1)
            layers = [nn.Conv2d(c, 2, 3, 1, 1), nn.ReLU(), pool, nn.Conv2d(2, 3, 2, 1, 1), nn.ReLU()]
        case "overlap":
            pool = nn.MaxPool2d(2, 1, dilation=1 + seed % 2)
            layers = [
                nn.Conv2d(c, 3, 2, 1, 1),
                nn.ReLU(),
                pool,
                nn.Conv2d(3, 2, 3, 1, 1),
                nn.ReLU(),
                nn.MaxPool2d(2, 1),
            ]
        case "pool-first":
            layers = [
                nn.Conv2d(c, 3, 2, 1, 1),
                nn.MaxPool2d((2, 3), (1, 2), (0, 1)),
                nn.ReLU(),
                nn.Conv2d(3, 3, 2),
                nn.ReLU(),
            ]
        case "residual":
            body = nn.Sequential(nn.Conv2d(3, 3, 3, 1, 1), nn.ReLU(), nn.Conv2d(3, 3, 3, 1, 1))
            layers = [nn.Conv2d(c, 3, 2, 2), nn.ReLU(), Residual(body), nn.ReLU()]
        case "normalised":
            layers = [Shift(), nn.Conv2d(c, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2, 1)]
        case _:
            raise ValueError(family)
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, -1.5, 1.5)
            nn.init.normal_(layer.bias)
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    body = nn.Sequential(*layers, nn.Flatten()).eval()
    features = body(torch.rand(1, *shape)).shape[1]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 3)).eval()
    for parameter in net.parameters():
        parameter.data *= 1.7  # default initialisation is so small that nothing is unstable
    return net.requires_grad_(False), shape


def random_graph(family: str, seed: int, dtype: torch.dtype = torch.float64) -> Graph:
    net, shape = random_net(family, seed)
    return from_module(net, torch.rand(2, *shape)).to(dtype)


def random_set(shape: tuple[int, ...], seed: int, batch: int = 2, dtype: torch.dtype = torch.float64) -> InputSet:
    """A box or a ball, cut by the unit cube or not."""
    generator = torch.Generator().manual_seed(seed)
    center = torch.rand(batch, *shape, generator=generator, dtype=dtype)
    radius = float(torch.rand(1, generator=generator)) * 0.3
    kind = seed % 5
    if kind == 0:
        width = torch.rand(batch, *shape, generator=generator, dtype=dtype) * radius
        return Box(center - width, center + width)
    norm = [Norm.LINF, Norm.L2, Norm.L1, Norm.LINF][kind - 1]
    scale = 0.5 + torch.rand(shape[0], *([1] * (len(shape) - 1)), generator=generator, dtype=dtype)
    reach = {Norm.LINF: 1.0, Norm.L2: 3.0, Norm.L1: 8.0}[norm]
    radii = torch.full((batch,), radius * reach, dtype=dtype)
    return LpBall(center, radii, norm, scale, None if seed % 2 else (0.0, 1.0))


def points(input_set: InputSet, count: int, seed: int) -> Tensor:
    """(count, batch, *shape): random points of the sets, most of them on their boundary."""
    generator = torch.Generator().manual_seed(seed)
    box = input_set.box()
    drawn = []
    for i in range(count):
        x = input_set.sample(generator)
        if i % 2:
            corner = torch.rand(x.shape, generator=generator) < 0.5
            x = input_set.project(torch.where(corner, box.lower, box.upper))
        drawn.append(x)
    return torch.stack(drawn)
