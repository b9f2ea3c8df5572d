"""Networks whose values cancel: what is left is of the size of the rounding of what was there before."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from calipers.core.norms import Norm, per_sample
from calipers.core.sets import Box, InputSet, LpBall
from tests.soundness.layers import Abs, Clip, Extreme, Gain, Joined, Residual

T = TypeVar("T")

LARGEST = float(np.finfo(np.float32).max)
Make = Callable[["Draw"], nn.Module]
KINDS: dict[str, Make] = {}


@dataclass(frozen=True, eq=False)
class Draw:
    """Random numbers for one network. inputs: how many it has."""

    generator: torch.Generator
    inputs: int

    @classmethod
    def of(cls, seed: int) -> "Draw":
        generator = torch.Generator().manual_seed(seed)
        return cls(generator, 1 + int(torch.randint(4, (1,), generator=generator)))

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand(1, generator=self.generator))

    def power(self, low: float, high: float) -> float:
        """10 to something between."""
        return float(10 ** self.between(low, high))

    def choice(self, *options: T) -> T:
        return options[int(torch.randint(len(options), (1,), generator=self.generator))]

    def ulps(self, values: Tensor, most: int = 4) -> Tensor:
        """Values moved by a few of their ulps."""
        steps = torch.randint(-most, most + 1, values.shape, generator=self.generator)
        return values * (1 + steps * torch.finfo(torch.float32).eps)

    def linear(self, inputs: int, outputs: int, gain: float = 1.0, bias: float = 1.0) -> nn.Linear:
        layer = nn.Linear(inputs, outputs)
        layer.weight.data = gain * self.normal(outputs, inputs)
        layer.bias.data = bias * self.normal(outputs)
        return layer

    def body(self, *sizes: int) -> list[nn.Module]:
        """Linear layers and ReLUs; a ReLU comes last."""
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [self.linear(inputs, outputs), nn.ReLU()]
        return layers


def kind(make: Make) -> Make:
    KINDS[make.__name__] = make
    return make


def network(name: str, seed: int) -> tuple[nn.Module, tuple[int, ...]]:
    """A network of a kind in eval mode, and its input shape. It has 2 or 3 outputs."""
    draw = Draw.of(seed)
    module = KINDS[name](draw)
    return module.eval().requires_grad_(False), (draw.inputs,)


def sets(shape: tuple[int, ...], seed: int, batch: int) -> InputSet:
    """Boxes or, now and then, balls of all widths: none, a few ulps, ..., the whole unit cube."""
    generator = torch.Generator().manual_seed(seed)
    center = torch.rand(batch, *shape, generator=generator) * 2 - 1
    size = 10 ** (-7.5 * torch.rand(batch, generator=generator))
    size = size * (torch.rand(batch, generator=generator) > 0.05)
    if seed % 4 == 3:
        norm = (Norm.L2, Norm.L1, Norm.LINF)[seed // 4 % 3]
        scale = 0.5 + torch.rand(shape, generator=generator)
        return LpBall(center, size, norm, scale, (-1.0, 1.0) if seed // 12 % 2 else None)
    free = torch.rand(batch, *shape, generator=generator) > 0.15
    width = per_sample(size, center) * torch.rand(batch, *shape, generator=generator) * free
    return Box(center - width, center + width)


def _cancelled(draw: Draw, before: nn.Module, last: nn.Linear, inputs: int) -> nn.Sequential:
    """The last layer's bias takes away what the others make at some input, up to its own rounding."""
    net = nn.Sequential(before, last).eval()
    with torch.no_grad():
        x = torch.rand(1, inputs, generator=draw.generator) * 2 - 1
        last.bias.data = last.bias.data - net(x)[0] + draw.normal(last.out_features)
    return net


@kind
def large_biases(draw: Draw) -> nn.Module:
    """Biases up to 1e7 that the next layer takes away again."""
    first, last = draw.linear(draw.inputs, 5), draw.linear(5, 2)
    first.bias.data = draw.power(1, 7) * draw.normal(5)
    return _cancelled(draw, nn.Sequential(first, nn.ReLU()), last, draw.inputs)


@kind
def large_outputs(draw: Draw) -> nn.Module:
    """Outputs of up to 1e7 that differ little, or cancel against the specification's offset."""
    last = draw.linear(5, 3)
    last.bias.data = draw.power(2, 7) * draw.choice(torch.ones(3), draw.normal(3)) + draw.normal(3)
    return nn.Sequential(*draw.body(draw.inputs, 5), last)


@kind
def large_weights(draw: Draw) -> nn.Module:
    """Two hidden layers; the last weights are large and nearly cancel."""
    last = draw.linear(6, 2, bias=1.0)
    half = draw.power(1, 5) * draw.normal(2, 3)
    last.weight.data = torch.cat([half, -half + draw.normal(2, 3)], 1)
    twin = draw.linear(4, 6)
    twin.weight.data[3:] = draw.ulps(twin.weight.data[:3])
    twin.bias.data[3:] = draw.ulps(twin.bias.data[:3])
    return nn.Sequential(*draw.body(draw.inputs, 4), twin, nn.ReLU(), last)


@kind
def clip_never_reached(draw: Draw) -> nn.Module:
    """Limits far beyond every value, up to the largest float32."""
    limit = draw.choice(draw.power(2.5, 3.5), draw.power(3, 6), LARGEST)
    clip = Clip(draw.choice(-limit, 0.0, -draw.power(2.5, 5)), limit)
    return nn.Sequential(draw.linear(draw.inputs, 4), clip, draw.linear(4, 2))


@kind
def clip_attained(draw: Draw) -> nn.Module:
    """Limits in the midst of large values."""
    middle = draw.power(0, 6) * draw.choice(-1.0, 1.0)
    first = draw.linear(draw.inputs, 4)
    first.bias.data += middle
    clip = Clip(middle - draw.between(0, 2), middle + draw.between(0, 2))
    return _cancelled(draw, nn.Sequential(first, clip), draw.linear(4, 2), draw.inputs)


@kind
def nearly_equal_rows(draw: Draw) -> nn.Module:
    """Outputs that are a few ulps apart."""
    last = draw.linear(6, 3, gain=draw.power(0, 4))
    last.weight.data[1:] = draw.ulps(last.weight.data[:1].expand(2, -1).clone())
    last.bias.data[1:] = draw.ulps(last.bias.data[:1].expand(2).clone())
    return nn.Sequential(*draw.body(draw.inputs, 6), last)


@kind
def deep_chain(draw: Draw) -> nn.Module:
    """Ten to fourteen layers, each as wide as the last."""
    depth = draw.choice(10, 12, 14)
    layers: list[nn.Module] = [draw.linear(draw.inputs, 4), nn.ReLU()]
    for _ in range(depth - 2):
        layers += [draw.linear(4, 4, gain=draw.choice(0.7, 1.0), bias=draw.choice(0.5, 30.0)), nn.ReLU()]
    return _cancelled(draw, nn.Sequential(*layers), draw.linear(4, 2), draw.inputs)


@kind
def residual_cancels(draw: Draw) -> nn.Module:
    """x + body(x), where the body is about -x."""
    high = draw.power(0, 5)
    first, second = draw.linear(4, 4), draw.linear(4, 4)
    first.weight.data = torch.eye(4) + draw.choice(0.0, 1e-3) * draw.normal(4, 4)
    first.bias.data = high * torch.ones(4)
    second.weight.data = -torch.eye(4) + draw.choice(0.0, 1e-3) * draw.normal(4, 4)
    second.bias.data = high * torch.ones(4)
    block = Residual(nn.Sequential(first, nn.ReLU(), second))
    last = draw.linear(4, 2, gain=draw.power(0, 4))
    return nn.Sequential(draw.linear(draw.inputs, 4, gain=draw.power(-1, 2)), block, nn.ReLU(), last)


@kind
def close_pixels(draw: Draw) -> nn.Module:
    """Maxpools over windows whose pixels are nearly equal."""
    first = draw.linear(draw.inputs, 16, gain=draw.power(-1, 2), bias=draw.power(-1, 4))
    copies = first.weight.data[:2].repeat_interleave(8, 0), first.bias.data[:2].repeat_interleave(8)
    first.weight.data, first.bias.data = draw.ulps(copies[0]), draw.ulps(copies[1], draw.choice(0, 4))
    pool = nn.MaxPool2d((2, 2), draw.choice(1, 2))
    features = 6 if pool.stride == 1 else 4
    layers = [first, nn.Unflatten(1, (2, 2, 4)), draw.choice(nn.ReLU(), nn.Identity()), pool, nn.Flatten()]
    layers = [layer for layer in layers if not isinstance(layer, nn.Identity)]
    return _cancelled(draw, nn.Sequential(*layers), draw.linear(features, 2), draw.inputs)


@kind
def large_gains(draw: Draw) -> nn.Module:
    """Entrywise factors of 1e4 and of 1e-4, one after the other."""
    up, down = draw.power(2, 4), draw.power(-4, -2)
    layers: list[nn.Module] = [draw.linear(draw.inputs, 4)]
    for factor in draw.choice([up, down], [down, up], [up, down, up]):
        layers += [Gain(factor * draw.normal(4), factor * draw.normal(4)), nn.ReLU()]
        layers += [draw.linear(4, 4)]
    return _cancelled(draw, nn.Sequential(*layers, nn.ReLU()), draw.linear(4, 2), draw.inputs)


@kind
def tiny_variance(draw: Draw) -> nn.Module:
    """Normalisation with variances down to 1e-8 and means that do not fit."""
    norm = nn.BatchNorm1d(4, eps=2.0**-30)
    norm.running_mean = draw.power(-1, 3) * draw.normal(4)
    norm.running_var = torch.rand(4, generator=draw.generator) * draw.power(-8, 0) + 2.0**-30
    norm.weight.data, norm.bias.data = draw.normal(4), draw.normal(4)
    layers = [draw.linear(draw.inputs, 4), norm, draw.choice(nn.ReLU(), Abs())]
    return _cancelled(draw, nn.Sequential(*layers), draw.linear(4, 2), draw.inputs)


@kind
def smooth(draw: Draw) -> nn.Module:
    """Sigmoid and tanh before large weights, saturated or nearly linear."""
    function = draw.choice(nn.Sigmoid, nn.Tanh)
    first = draw.linear(draw.inputs, 4, gain=draw.power(-2, 1.5), bias=draw.power(-2, 1))
    layers: list[nn.Module] = [first, function()]
    if draw.choice(True, False):
        layers += [draw.linear(4, 4, gain=draw.power(0, 1)), draw.choice(nn.Sigmoid(), nn.Tanh())]
    return _cancelled(draw, nn.Sequential(*layers), draw.linear(4, 2, gain=draw.power(0, 4)), draw.inputs)


@kind
def bends(draw: Draw) -> nn.Module:
    """Leaky ReLUs and absolute values of large numbers."""
    slope = torch.tensor(draw.choice(0.01, 0.1, -0.3, 1.5)).item()
    first = draw.linear(draw.inputs, 4, bias=draw.power(0, 5))
    return _cancelled(
        draw,
        nn.Sequential(first, draw.choice(nn.LeakyReLU(slope), Abs()), draw.linear(4, 4), nn.LeakyReLU(slope)),
        draw.linear(4, 2),
        draw.inputs,
    )


@kind
def extremes(draw: Draw) -> nn.Module:
    """The larger or the smaller of two nearly equal large branches."""
    one = draw.linear(draw.inputs, 4, bias=draw.power(0, 5))
    two = draw.linear(draw.inputs, 4)
    two.weight.data, two.bias.data = draw.normal(4, draw.inputs), draw.ulps(one.bias.data)
    before = nn.Sequential(Extreme(one, two, draw.choice(True, False)), nn.ReLU())
    return _cancelled(draw, before, draw.linear(4, 2), draw.inputs)


@kind
def joined_branches(draw: Draw) -> nn.Module:
    """Two nearly equal branches side by side, of which the last layer takes the difference."""
    one, two = draw.linear(draw.inputs, 3, bias=draw.power(0, 5)), draw.linear(draw.inputs, 3)
    two.weight.data, two.bias.data = draw.ulps(one.weight.data), draw.ulps(one.bias.data)
    last = draw.linear(6, 2)
    last.weight.data[:, 3:] = draw.ulps(-last.weight.data[:, :3])
    return nn.Sequential(Joined(nn.Sequential(one, nn.ReLU()), nn.Sequential(two, nn.ReLU())), last)


@kind
def convolution(draw: Draw) -> nn.Module:
    """Convolutions with large biases, a pool, and a residual sum of feature maps."""
    first, inner = nn.Conv2d(1, 2, 2), nn.Conv2d(2, 2, 3, padding=1)
    for layer in (first, inner):
        assert layer.bias is not None
        layer.weight.data = draw.normal(*layer.weight.shape)
        layer.bias.data = draw.power(0, 5) * draw.normal(2)
    enter = [draw.linear(draw.inputs, 16), nn.Unflatten(1, (1, 4, 4))]
    layers = [*enter, first, nn.ReLU(), Residual(nn.Sequential(inner, nn.ReLU())), nn.MaxPool2d(2, 1), nn.Flatten()]
    return _cancelled(draw, nn.Sequential(*layers), draw.linear(8, 2), draw.inputs)
