"""Attacks on models whose gradients are of no use: what they notice, and what they find all the same."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from calipers.attacks import MINIMUM_NORM_ATTACKS, PGD, GeoDA, Nearest, run_attack, run_minimum_norm
from calipers.attacks.losses import log_odds
from calipers.attacks.query import Query
from calipers.core.distances import Distance
from calipers.core.problem import MinimumNormProblem, Specification
from calipers.core.results import Remark
from tests.nets import nearest_query

FEATURES = 12


class Behind(nn.Module):
    """A linear classifier of two classes, behind something else."""

    weight: Tensor

    def __init__(self, before: Callable[[Tensor], Tensor], after: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.before, self.after = before, after
        weight = torch.randn(2, FEATURES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.register_buffer("weight", weight.float())

    def forward(self, x: Tensor) -> Tensor:
        z = (self.before(x) - 0.5) @ self.weight.to(x.dtype).T
        return z if self.after is None else self.after(z)


def without_grad(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x.clone()


# Gradients are zero, or there are none: each with how far its inputs move at most.
BLIND: dict[str, Behind] = {
    "round": Behind(lambda x: (20 * x).round() / 20),
    "floor": Behind(lambda x: (20 * x + 0.5).floor() / 20),
    "fake int8": Behind(lambda x: (x * 127).to(torch.int8).to(x.dtype) / 127),
    "detach": Behind(torch.Tensor.detach),
    "no_grad": Behind(without_grad),
    "numpy": Behind(lambda x: torch.from_numpy(x.numpy())),
    "one-hot": Behind(nn.Identity(), lambda z: nn.functional.one_hot(z.argmax(1), 2).to(z.dtype)),
    "sharp softmax": Behind(nn.Identity(), lambda z: (1e4 * z).softmax(1)),
    "sign": Behind(nn.Identity(), lambda z: (z[:, :1] - z[:, 1:]).sign() * torch.tensor([1.0, -1.0])),
}


def task(net: nn.Module, distance: Distance = Distance.L2, count: int = 4) -> MinimumNormProblem:
    x = torch.rand(count, FEATURES, generator=torch.Generator().manual_seed(1)).round(decimals=1)
    labels = net(x).argmax(1)
    specification = Specification.classified_as(labels, 2)
    return MinimumNormProblem("net", tuple(range(count)), x, distance, torch.ones(()), None, specification)


def to_boundary(problem: MinimumNormProblem) -> Tensor:
    """The distances of the linear classifier alone, without a domain."""
    plain = Behind(nn.Identity())
    z = plain(problem.center)
    w = plain.weight[0] - plain.weight[1]
    norm = problem.distance.norm
    assert norm is not None
    return (z[:, 0] - z[:, 1]).abs() / norm.dual(w)


@pytest.mark.parametrize("name", BLIND)
@pytest.mark.parametrize("distance", [Distance.LINF, Distance.L2])
def test_without_gradients_a_search_joins_within_the_budget(name: str, distance: Distance) -> None:
    problem = task(BLIND[name], distance)
    result = run_minimum_norm(Nearest(400), BLIND[name], problem, 0)
    assert result.success.all()
    assert (result.forwards + result.backwards <= 400).all()
    assert result.remarks[Remark.SEARCHED_WITHOUT].all()
    assert (result.remarks[Remark.NO_GRADIENT] | result.remarks[Remark.ZERO_GRADIENT]).all()
    # A step of rounding is worth half a twentieth in every value; the search is within a quarter of the boundary.
    step = 0.025 * (1.0 if distance is Distance.LINF else FEATURES**0.5)
    assert (result.distance <= 1.35 * to_boundary(problem) + step).all()


def test_pgd_breaks_what_it_cannot_see() -> None:
    problem = task(BLIND["detach"])
    radius = 1.5 * float(to_boundary(problem).max())
    result = run_attack(PGD(), BLIND["detach"], problem.within(radius), 0)
    assert result.success.all()
    assert problem.within(radius).input_set.contains(result.adversarial).all()
    assert not result.backwards.any()
    assert (result.forwards <= 4 * (2 * 40 + 1)).all()
    assert {remark for remark, held in result.remarks.items() if held.any()} == {
        Remark.NO_GRADIENT,
        Remark.SEARCHED_WITHOUT,
    }


@pytest.mark.parametrize("name", ["round", "detach"])
@pytest.mark.parametrize("attack", MINIMUM_NORM_ATTACKS)
def test_every_attack_survives_gradients_that_are_zero(attack: str, name: str) -> None:
    made = MINIMUM_NORM_ATTACKS[attack](100)
    problem = task(BLIND[name], min(made.distances), count=2)
    result = run_minimum_norm(made, BLIND[name], problem, 0)
    assert result.adversarial.isfinite().all()
    assert (result.forwards + result.backwards <= 100).all()


# Classifiers that rise and fall with every value alone; inputs are 0 in half their values.
UNSAFE: dict[str, Behind] = {
    "sqrt": Behind(torch.sqrt),
    "power": Behind(lambda x: x**0.4),
    "abs": Behind(lambda x: x.abs().sqrt()),
}


def unsafe_task(net: nn.Module, distance: Distance) -> MinimumNormProblem:
    x = torch.rand(8, FEATURES, generator=torch.Generator().manual_seed(1))
    x[:, ::2] = 0
    specification = Specification.classified_as(net(x).argmax(1), 2)
    return MinimumNormProblem("net", tuple(range(8)), x, distance, torch.ones(()), (0.0, 1.0), specification)


def smallest_change(net: Behind, problem: MinimumNormProblem) -> Tensor:
    """The distance in linf by bisection: every value moves as far as it may, to where it takes most off the margin."""
    w = net.weight[0] - net.weight[1]
    side = -(w * problem.specification.C[:, 0, :1]).sign()
    low, high = torch.zeros(len(problem)), torch.ones(len(problem))
    for _ in range(30):
        middle = (low + high) / 2
        broken = problem.specification.margins(net(problem.perturbed(middle[:, None] * side)))[:, 0] <= 0
        low, high = torch.where(broken, low, middle), torch.where(broken, middle, high)
    return high


@pytest.mark.parametrize("name", UNSAFE)
def test_infinite_gradients_cost_nothing_in_linf(name: str) -> None:
    problem = unsafe_task(UNSAFE[name], Distance.LINF)
    result = run_minimum_norm(Nearest(300), UNSAFE[name], problem, 0)
    assert result.remarks[Remark.GRADIENT_NOT_FINITE].all()
    assert result.success.all()
    assert (result.distance <= 1.15 * smallest_change(UNSAFE[name], problem)).all()


@pytest.mark.parametrize("distance", [Distance.L2, Distance.L1])
def test_infinite_gradients_are_better_than_none(distance: Distance) -> None:
    net = UNSAFE["sqrt"]
    problem = unsafe_task(net, distance)
    with_gradients, without = (run_minimum_norm(one, net, problem, 0) for one in (Nearest(300), GeoDA(600)))
    assert with_gradients.success.all()
    assert with_gradients.distance.mean() <= 1.05 * without.distance.mean()


def test_outputs_that_are_nan_break_nothing_and_are_told() -> None:
    # A logarithm of less than nothing, on one side of the centre.
    holed = Behind(lambda x: x + 0 * (x.mean(1, keepdim=True) - 0.3).log())
    problem = task(Behind(nn.Identity()))
    inside = (problem.center.mean(1) > 0.35).nonzero()[:, 0]
    result = run_minimum_norm(Nearest(200), holed, problem[inside], 0)
    assert result.success.all()
    assert holed(result.adversarial).isfinite().all()
    query = Query(holed, problem[inside].within(5.0))
    rows = query.margins(torch.zeros_like(problem.center[inside]), query.everyone)
    assert rows.isinf().all()
    assert (rows > 0).all()
    assert (query.best_margin == math.inf).all()
    assert query.sight.not_numbers.tolist() == [1] * len(inside)


def test_only_the_blind_are_left_alone() -> None:
    """Two instances of which one has a gradient: it goes on as it would alone."""
    half = Behind(lambda x: torch.where(x[:, :1] > 5, x, x.detach()))
    x = torch.full((2, FEATURES), 0.45)
    x[1, 0] = 9.0
    specification = Specification.classified_as(half(x).argmax(1), 2)
    problem = MinimumNormProblem("net", (0, 1), x, Distance.L2, torch.ones(()), None, specification)
    query = nearest_query(half, problem)
    for _ in range(30):
        rows, gradient = query.gradient(x, query.everyone, log_odds)
    assert query.sight.blind.tolist() == [True, False]
    assert not gradient[0].any()
    assert gradient[1].any()
    assert query.forwards[1] == 30
    assert query.forwards[0] + query.sight.saved[0] // 2 == 30
    assert torch.allclose(rows[1], problem.specification.margins(half(x))[1])
    assert rows[0] > 0


def test_healthy_gradients_are_left_as_they_are() -> None:
    net = Behind(nn.Identity())
    problem = task(net)
    query = nearest_query(net, problem)
    x = problem.center.clone().requires_grad_(True)
    _, gradient = query.gradient(x, query.everyone, log_odds)
    (expected,) = torch.autograd.grad(log_odds(problem.specification.margins(net(x))).sum(), x)
    assert torch.equal(gradient, expected)
    assert not query.sight.troubled
