"""Small random networks and input sets for property tests."""

from functools import lru_cache

import torch
from torch import Tensor, nn

from calipers.attacks.nearest_query import NearestQuery
from calipers.core.norms import Norm
from calipers.core.problem import MinimumNormProblem
from calipers.core.sets import Box, InputSet, LpBall
from calipers.graph.from_torch import from_module
from calipers.graph.graph import Graph
from tests.soundness.layers import Residual

# Networks of ReLU and maxpool, and networks of the other operations.
BASIC = ("mlp", "conv", "pooled", "padded", "overlap", "pool-first", "residual", "normalised")
WIDE = ("leaky", "average", "smooth", "smooth-mlp", "joined", "sequence", "generator")
FAMILIES = BASIC + WIDE


class Shift(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.4) / 0.3


class Joined(nn.Module):
    """Slices, pads, a transpose, elementwise extremes and a join, with windows and without."""

    def __init__(self, channels: int, seed: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(channels, 2, 2)
        self.two = nn.Conv2d(channels, 2, 2)
        self.last = nn.Conv2d(4, 3, 2, padding=1)
        self.value = 0.3 * (seed % 2)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.one(x), torch.relu(self.two(x))
        top = torch.maximum(a, b) - torch.minimum(a[:, :, 1:], 0.5 * a[:, :, :-1]).mean((2, 3), keepdim=True)
        joined = torch.cat([nn.functional.pad(top, (1, 0, 0, 2), value=self.value), self.turned(b)], 1)
        return self.last(joined[:, :, :-1].clamp(-0.5, 1.0))

    def turned(self, b: Tensor) -> Tensor:
        size = (b.shape[2] + 2, b.shape[3] + 1)
        flipped = b.transpose(2, 3).flip(3).transpose(2, 3)
        return nn.functional.pad(flipped, (0, size[1] - b.shape[3], 0, size[0] - b.shape[2]))


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
        case "leaky":
            bends = nn.PReLU(3), nn.LeakyReLU([0.1, -0.3, 1.5][seed % 3])
            layers = [nn.Conv2d(c, 3, 3, 1, 1), bends[0], nn.MaxPool2d(2, 1), nn.Conv2d(3, 3, 2), bends[1]]
            bends[0].weight.data.uniform_(-0.5, 1.5)
        case "average":
            average = nn.AvgPool2d((3, 2), (2, 1), 1, count_include_pad=bool(seed % 2))
            layers = [average, nn.Conv2d(c, 3, 2), nn.ReLU(), nn.AvgPool2d(2, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1)]
        case "smooth":
            first = [nn.Sigmoid(), nn.Tanh(), nn.Softplus(2.0)][seed % 3]
            layers = [nn.Conv2d(c, 3, 3, 2, 1), first, nn.MaxPool2d(2, 1), nn.Conv2d(3, 3, 2), nn.Tanh()]
        case "smooth-mlp":
            shape = (4 + seed % 4,)
            layers = [nn.Linear(shape[0], 5), nn.Sigmoid(), nn.Linear(5, 5), nn.Softplus(), nn.Linear(5, 4), nn.Tanh()]
        case "joined":
            layers = [Joined(c, seed), nn.ReLU()]
        case "sequence":
            shape = (2, 8 + seed % 3)
            layers = [nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(4, 3, 2), nn.LeakyReLU(0.2)]
            layers += [nn.AvgPool1d(2, 1), nn.Hardtanh(-0.5, 0.8)]
        case "generator":
            shape = (3 + seed % 3,)
            up = nn.ConvTranspose2d(2, 3, 3, 2, seed % 2, 1, dilation=1 + seed % 2)
            layers = [nn.Linear(shape[0], 8), nn.ReLU(), nn.Unflatten(1, (2, 2, 2)), up, nn.ReLU()]
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(3, 2, 3, 2), nn.ReLU()]
        case _:
            raise ValueError(family)
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, -1.5, 1.5)
            nn.init.normal_(layer.bias)
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    body = nn.Sequential(*layers, nn.Flatten()).eval()
    features = body(torch.rand(1, *shape)).shape[1]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 3)).eval()
    for parameter in net.parameters():
        parameter.data *= 1.7  # default initialisation is so small that nothing is unstable
    return net.requires_grad_(False), shape


# Seeds from 0 to 5 make networks of every size and with every choice of layers. Tests that draw seeds by the hundred
# draw sets and specifications by them, and take these networks again: `random_graph(family, seed % NETWORKS)`.
NETWORKS = 6


@lru_cache(maxsize=512)
def random_graph(family: str, seed: int, dtype: torch.dtype = torch.float64) -> Graph:
    """The graph of `random_net`; graphs never change."""
    return _traced(family, seed).to(dtype)


@lru_cache(maxsize=512)
def _traced(family: str, seed: int) -> Graph:
    """In single precision. Tracing takes most of a test's time."""
    net, shape = random_net(family, seed)
    return from_module(net, torch.rand(2, *shape))


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


def dense(net: nn.Module, place: int) -> nn.Linear:
    """The dense layer at a place of a Sequential."""
    assert isinstance(net, nn.Sequential)
    layer = net[place]
    assert isinstance(layer, nn.Linear)
    return layer


def nearest_query(net: nn.Module, problem: MinimumNormProblem) -> NearestQuery:
    """As attacks get it."""
    with torch.no_grad():
        return NearestQuery(net, problem, problem.specification.margins(net(problem.center)).amin(1))
