"""Linear classifiers, whose distance to the boundary is known in closed form."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from calipers.core.distances import Distance
from calipers.core.norms import Norm
from calipers.core.problem import MinimumNormProblem, Problem, Specification
from calipers.core.sets import LpBall
from tests.nets import dense

SHAPES = [(2, (20,)), (4, (3, 4, 4)), (10, (1, 8, 8))]


def linear(
    classes: int, shape: tuple[int, ...], distance: Distance, domain: tuple[float, float] | None
) -> tuple[nn.Module, MinimumNormProblem]:
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(int(torch.tensor(shape).prod()), classes)).requires_grad_(False)
    dense(net, 1).weight.copy_(torch.randn(dense(net, 1).weight.shape, generator=generator))
    dense(net, 1).bias.zero_()
    x = 0.25 + 0.5 * torch.rand(12, *shape, generator=generator)
    specification = Specification.classified_as(net(x).argmax(1), classes)
    return net, MinimumNormProblem("linear", tuple(range(12)), x, distance, torch.tensor(0.7), domain, specification)


def exact(net: nn.Module, problem: MinimumNormProblem) -> Tensor:
    """The nearest boundary: the margin over the dual norm of its row, or how many of the largest gains make it up."""
    rows = problem.specification.margins(net(problem.center))
    slopes = (problem.specification.C @ dense(net, 1).weight).reshape(
        *rows.shape, *problem.center.shape[1:]
    ) * problem.scale
    norm = problem.distance.norm
    if norm is not None:
        return (rows / norm.dual(slopes.flatten(2))).amin(1)
    assert problem.domain is not None
    room = torch.where(
        slopes > 0, problem.center[:, None] - problem.domain[0], problem.domain[1] - problem.center[:, None]
    )
    gains = slopes.abs() * room / problem.scale
    if problem.distance is Distance.L0_PIXELS and gains.dim() > 3:
        gains = gains.sum(2)
    total = gains.flatten(2).sort(descending=True).values.cumsum(-1)
    return (1 + (total < rows[..., None]).sum(-1)).amin(1).to(rows.dtype)


def closer(net: nn.Module, problem: MinimumNormProblem, share: float) -> MinimumNormProblem:
    """The centres moved towards their nearest boundaries in l2, to a share of the distance."""
    rows = problem.specification.margins(net(problem.center))
    slopes = problem.specification.C @ dense(net, 1).weight
    everyone = torch.arange(len(problem))
    row = (rows / Norm.L2(slopes)).argmin(1)
    margin, slope = rows[everyone, row], slopes[everyone, row]
    step = (1 - share) * (margin / slope.square().sum(1))[:, None] * slope
    return replace(problem, center=problem.center - step.reshape(problem.center.shape))


def linear_balls(norm: Norm, epsilon: float, scale: float = 1.0) -> tuple[nn.Linear, Problem, torch.Tensor]:
    """A linear model, whose distance to the boundary is known in every norm."""
    torch.manual_seed(0)
    model = nn.Linear(6, 2).requires_grad_(False)
    x = torch.randn(16, 6)
    labels = model(x).argmax(1)
    ball = LpBall(x, torch.full((16,), epsilon), norm, torch.tensor(scale), None)
    problem = Problem("linear", tuple(range(16)), ball, Specification.classified_as(labels, 2))
    margin = problem.specification.margins(model(x))[:, 0]
    return model, problem, margin / norm.dual((model.weight[0] - model.weight[1])[None] * scale)
