"""Networks with a planted counterexample: a narrow spike that a gradient shows only to those who stand on it.

The idea is that of SoundnessBench (Zhou et al. 2024): the answer is known to be no, and attacks don't see it. Here the
spike is built by hand, disturbed, and trained together with noise so that PGD's iterates stay correct.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from calipers.core.problem import Specification
from calipers.core.sets import Box
from tests.soundness.claims import Question
from tests.soundness.layers import Clip, Residual
from tests.soundness.replays import Deployed

KINDS = ("relu", "maxpool", "sigmoid", "tanh", "clip", "residual")
_EXTRA = 6
_STEPS = 40
_PARTICLES = 48
# No kind of draw fails often; this many in a row would mean that training does not work.
_TRIES = 100


@dataclass(frozen=True, eq=False)
class Planted:
    """point: of shape (1, inputs), in the box, where logit 0 is below logit 1 by `depth`; descent stays `above` 0."""

    module: nn.Module
    box: Box
    point: Tensor
    depth: float
    above: float


@lru_cache(maxsize=16)
def planted(kind: str, seed: int) -> Planted:
    """A network of 5 to 8 inputs and 2 outputs whose class 0 is wrong at one point of a ball of radius 0.1 to 0.3."""
    for attempt in range(_TRIES):
        made = _attempt(kind, torch.Generator().manual_seed(1000 * seed + attempt))
        if made is not None:
            return made
    raise RuntimeError(f"planted {kind} {seed}: no spike survived the training in {_TRIES} attempts")


def question(made: Planted, network: Deployed, seed: int, sets: int = 24, rows: int = 3) -> Question:
    """The ball and boxes in it around the point.

    Row 0 is broken there by what the network has, the others by a few ulps; the last holds at the point by as much.
    """
    generator = torch.Generator().manual_seed(seed)
    share = 10 ** (-6 * torch.rand(sets, 1, generator=generator))
    # The whole ball first, then boxes that a search can go through.
    share[:3] = torch.tensor([[1.0], [0.1], [0.01]])
    side = torch.rand(2, sets, made.point.shape[1], generator=generator)
    side[:, 0] = 1.0
    # Subtracting and adding round: the point itself must stay inside.
    lower = torch.minimum(made.point - share * side[0] * (made.point - made.box.lower), made.point)
    upper = torch.maximum(made.point + share * side[1] * (made.box.upper - made.point), made.point)
    box = Box(torch.maximum(lower, made.box.lower), torch.minimum(upper, made.box.upper))
    C = torch.tensor([1.0, -1.0]).expand(sets, rows, 2).clone()
    with torch.no_grad():
        outputs = network.double(made.point)[0]
    value, size = float(outputs[0] - outputs[1]), float(outputs.abs().sum())
    power = torch.randint(3, 16, (sets, rows), generator=generator)
    below = 2.0**power * torch.finfo(torch.float32).eps * size
    d = (-value - below).float()
    d[:, 0] = 0.0
    d[:, -1] = (below - value)[:, -1].float()
    specification = Specification(C, d)
    nearest = made.point.expand(1, sets, rows, -1)
    return Question(network, box, specification, nearest, value + d.double() <= 0, sets)


def _attempt(kind: str, generator: torch.Generator) -> Planted | None:
    inputs = int(torch.randint(5, 9, (1,), generator=generator))
    radius = float(0.1 + 0.2 * torch.rand(1, generator=generator))
    center = torch.rand(1, inputs, generator=generator)
    box = Box(center - radius, center + radius)
    point = center + radius * (1.8 * torch.rand(1, inputs, generator=generator) - 0.9)
    width = radius * float(0.15 + 0.25 * torch.rand(1, generator=generator))
    net = _spike(kind, point[0], width, generator)
    low = _train(net, box, point, generator)
    with torch.no_grad():
        depth = float(_margin(net, point))
        if not low - depth > 0.05:
            return None
        # Only the spike reaches below 0, by anything between a hair and a third.
        share, gap = float(10 ** (-0.5 - 4 * torch.rand(1, generator=generator))), low - depth
        last = net[-1]
        assert isinstance(last, nn.Linear)
        last.bias[0] -= depth + share * gap
        depth = float(_margin(net, point))
    net.eval().requires_grad_(False)
    return Planted(net, box, point, -depth, (1 - share) * gap) if depth < 0 else None


def _margin(net: nn.Module, x: Tensor) -> Tensor:
    outputs = net(x)
    return outputs[:, 0] - outputs[:, 1]


def _spike(kind: str, point: Tensor, width: float, generator: torch.Generator) -> nn.Sequential:
    """The margin falls by 1 within `width` of the point, by hand; everything is disturbed a little."""
    n = len(point)

    def layer(inputs: int, outputs: int) -> nn.Linear:
        made = nn.Linear(inputs, outputs)
        made.weight.data = 0.3 * torch.randn(outputs, inputs, generator=generator) / inputs**0.5
        made.bias.data = 0.1 * torch.randn(outputs, generator=generator)
        return made

    smooth = kind in ("sigmoid", "tanh")
    one = layer(n, 2 * n + _EXTRA)
    steep = {"sigmoid": 4.0, "tanh": 2.0}.get(kind, 1.0)
    sides = torch.eye(n).repeat_interleave(2, 0)
    signs = torch.ones(2 * n, 1) if smooth else torch.tensor([1.0, -1.0]).repeat(n)[:, None]
    one.weight.data[: 2 * n] = steep * signs * sides / width
    one.bias.data[: 2 * n] = -(one.weight.data[: 2 * n] @ point)
    if smooth:
        one.bias.data[: 2 * n] += steep * torch.tensor([1.0, -1.0]).repeat(n)
    seen = n + _EXTRA // 2 if kind == "maxpool" else 2 * n + _EXTRA
    two = layer(seen, 1 + _EXTRA)
    two.weight.data[0] = 0.0
    if smooth:
        # Every pair of steps is a bump of height about 1, of tanh 2: all of them together pass the threshold.
        height = {"sigmoid": 1.0, "tanh": 2.0}[kind]
        two.weight.data[0, : 2 * n] = 6.0 / height * torch.tensor([1.0, -1.0]).repeat(n)
        two.bias.data[0] = -6.0 * (n - 0.6)
    else:
        two.weight.data[0, : n if kind == "maxpool" else 2 * n] = -1.0
        two.bias.data[0] = 1.0
    last = layer(1 + _EXTRA, 2)
    last.weight.data[:, 0] = torch.tensor([-0.6, 0.6])
    last.bias.data = torch.tensor([0.3, -0.3])
    body: list[nn.Module]
    match kind:
        case "relu":
            body = [one, nn.ReLU(), two, nn.ReLU(), last]
        case "clip":
            body = [one, Clip(0.0, 20.0), two, Clip(0.0, 1.5), last]
        case "maxpool":
            pooled = [nn.Unflatten(1, (1, 1, 2 * n + _EXTRA)), nn.MaxPool2d((1, 2)), nn.Flatten()]
            body = [one, *pooled, two, nn.ReLU(), last]
        case "sigmoid":
            body = [one, nn.Sigmoid(), two, nn.Sigmoid(), last]
        case "tanh":
            body = [one, nn.Tanh(), two, nn.Tanh(), last]
        case "residual":
            back = layer(1 + _EXTRA, seen)
            back.weight.data[:, 0] = 0.0
            back.weight.data[-1, 0] = 1.0
            last = layer(seen, 2)
            last.weight.data[:, -1] = torch.tensor([-0.6, 0.6])
            last.weight.data[:, : 2 * n] *= 0.1
            last.bias.data = torch.tensor([0.3, -0.3])
            body = [one, nn.ReLU(), Residual(nn.Sequential(two, nn.ReLU(), back)), last]
        case _:
            raise ValueError(kind)
    net = nn.Sequential(*body)
    for parameter in net.parameters():
        parameter.data *= 1 + 0.01 * torch.randn(parameter.shape, generator=generator)
    return net


def _train(net: nn.Sequential, box: Box, point: Tensor, generator: torch.Generator) -> float:
    """Keep the point wrong and the iterates of descent right; the least margin that they meet in the end."""
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)

    def fresh() -> Tensor:
        share = torch.rand(_PARTICLES, box.lower.shape[1], generator=generator)
        return box.lower + share * (box.upper - box.lower)

    def moved(x: Tensor, slope: Tensor, step: int) -> Tensor:
        return box.project(x - slope.sign() * (box.upper - box.lower) * 0.1 * 0.8 ** (step % 10))

    x = fresh()
    for step in range(_STEPS):
        x = (fresh() if step % 10 == 0 else x).detach().requires_grad_()
        margins = _margin(net, x)
        loss = (0.5 - margins).clamp_min(0).mean() + 2 * (_margin(net, point) + 0.5).clamp_min(0).mean()
        optimiser.zero_grad()
        loss.backward()
        assert x.grad is not None
        # The loss rises where margins fall.
        x = moved(x, -x.grad, step)
        optimiser.step()
    low = torch.inf
    for _ in range(3):
        x = fresh()
        for step in range(20):
            x = x.detach().requires_grad_()
            margins = _margin(net, x)
            low = min(low, float(margins.detach().min()))
            (slope,) = torch.autograd.grad(margins.sum(), x)
            x = moved(x, slope, step)
    return low
