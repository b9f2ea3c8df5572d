"""Bounds of numbers near the ends of single precision: sums overflow there, and products lose all their digits."""

import itertools
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from calipers.bounds import WorkBudget
from calipers.bounds.relaxations.activations import relax
from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.core.intervals import IntervalBounds
from calipers.core.norms import Norm
from calipers.core.problem import Problem, Specification
from calipers.core.results import Verdict
from calipers.core.sets import Box, InputSet, LpBall
from calipers.graph import ops
from calipers.graph.from_torch import from_module
from calipers.graph.graph import Graph
from calipers.verify import Limits
from calipers.verify.verifier import VERIFIERS
from tests.limits import NEVER

LARGEST = torch.finfo(torch.float32).max
LEAST = 2.0**-149
METHODS = ("ibp", "deepz", "capm", "crown", "maxlin", "fused", "paired", "forward", "optimised", "complete")


def chain(first: list[list[float]], shift: list[float], second: float, offset: float, relu: bool) -> Graph:
    one, two = nn.Linear(len(first[0]), len(first)), nn.Linear(len(first), 1)
    with torch.no_grad():
        one.weight.copy_(torch.tensor(first))
        one.bias.copy_(torch.tensor(shift))
        two.weight.fill_(second)
        two.bias.fill_(offset)
    net = nn.Sequential(one, nn.ReLU() if relu else nn.Identity(), two).eval()
    return from_module(net, torch.zeros(2, len(first[0])))


def verdict(name: str, graph: Graph, where: InputSet, threshold: float) -> Verdict:
    """Whether the output exceeds the threshold."""
    problem = Problem("", (0,), where, Specification(torch.ones(1, 1, 1), torch.tensor([[-threshold]])))
    return VERIFIERS[name](Limits(WorkBudget(), NEVER)).verify(graph, problem).verdicts[0]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("ends", [(0.88, 0.97), (-0.97, -0.88), (-0.99, 0.99)])
def test_boxes_of_the_largest_numbers(name: str, relu: bool, ends: tuple[float, float]) -> None:
    graph = chain([[1e-38, 0], [0, 1e-38], [1e-38, 1e-38]], [-5.0, -5.0, -9.0], 1.0, 0.0, relu)
    box = Box(*(torch.full((1, 2), share * LARGEST) for share in ends))
    corners = torch.tensor(list(itertools.product(*[[share * LARGEST for share in ends]] * 2)))
    low = float(graph.evaluate(corners).min())
    assert verdict(name, graph, box, low + 0.5) is not Verdict.VERIFIED
    if not relu:
        assert verdict(name, graph, box, low - 0.5) is Verdict.VERIFIED


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(
    "where",
    [
        Box(torch.zeros(1, 1), torch.full((1, 1), LEAST)),
        Box(torch.zeros(1, 1), torch.full((1, 1), 3 * LEAST)),
        Box(torch.full((1, 1), LEAST), torch.full((1, 1), LEAST)),
        LpBall(torch.zeros(1, 1), torch.tensor([LEAST]), Norm.LINF, torch.ones(1), None),
    ],
)
def test_boxes_of_the_least_numbers(name: str, relu: bool, where: InputSet) -> None:
    # At the upper end the output is negative, although half of the least number is rounded to 0.
    graph = chain([[1.0]], [0.0], -1e38, 1e-8, relu)
    assert float(graph.evaluate(torch.full((1, 1), LEAST))) < 0
    assert verdict(name, graph, where, 0.0) is not Verdict.VERIFIED


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("scale", [0.5, 0.25])
def test_a_power_of_two_loses_digits_of_the_least_numbers(name: str, scale: float) -> None:
    # 3 / 2 of the least number is rounded to 2 of them, by networks that are deployed, and stays 3 / 2 in exact
    # arithmetic; both have to be enclosed.
    graph = chain([[scale]], [0.0], -1e38, 0.0, False)
    x = 3 * LEAST
    point = Box(torch.full((1, 1), x), torch.full((1, 1), x))
    deployed = float(graph.evaluate(point.lower))
    exact = float(-Fraction(scale) * Fraction(x) * Fraction(float(torch.tensor(1e38))))
    assert deployed != exact
    for value in (deployed, exact):
        assert verdict(name, graph, point, value * (1 - 1e-3)) is not Verdict.VERIFIED
        graph_up = chain([[scale]], [0.0], 1e38, 0.0, False)
        assert verdict(name, graph_up, point, -value * (1 + 1e-3)) is not Verdict.VERIFIED


def test_the_radius_reaches_from_the_middle_to_both_ends() -> None:
    numbers = [0.0, LEAST, 3 * LEAST, 2.0**-126, 0.1, 1 / 3, 1.0, 1e7, LARGEST / 3, LARGEST]
    ends = [(low, high) for low, high in itertools.product([*numbers, *(-n for n in numbers)], repeat=2) if low <= high]
    lower, upper = (torch.tensor([side]) for side in zip(*ends, strict=True))
    bounds = IntervalBounds(lower, upper)
    assert bool(bounds.middle.isfinite().all())

    def reaches(side: Tensor, sign: int) -> bool:
        parts = zip(bounds.middle[0].tolist(), bounds.radius[0].tolist(), side[0].tolist(), strict=True)
        # But for the rounding of the last difference, which is relative and charged by who uses it.
        return all(
            sign * (Fraction(end) - Fraction(m)) <= Fraction(r) * (1 + Fraction(2) ** -23) for m, r, end in parts
        )

    assert reaches(bounds.upper, 1)
    assert reaches(bounds.lower, -1)
    ordinary = (lower.abs().maximum(upper.abs()) < LARGEST / 4)[0]
    assert torch.equal(bounds.middle[0][ordinary], ((lower + upper) / 2)[0][ordinary])
    torch.testing.assert_close(bounds.radius, upper / 2 - lower / 2, rtol=1e-6, atol=LEAST)


@pytest.mark.parametrize("ends", [(0.88, 0.97), (-0.97, -0.88), (-1.0, 1.0)])
def test_parallel_planes_of_the_largest_offsets_have_a_middle(ends: tuple[float, float]) -> None:
    lower, upper = (torch.full((1, 3), share * LARGEST) for share in ends)
    slope = torch.ones(1, 3)
    planes = Relaxation(slope, lower, slope, upper)
    exact = (lower.double() + upper.double()) / 2
    torch.testing.assert_close(planes.middle.double(), exact, rtol=1e-6, atol=1e31)
    torch.testing.assert_close(planes.half.double(), (upper.double() - lower.double()) / 2, rtol=1e-6, atol=1e31)


@pytest.mark.parametrize("activation", [ops.Sigmoid(), ops.Tanh(), ops.Softplus()])
@pytest.mark.parametrize("ends", [(0.88, 0.97), (-0.97, -0.88), (-1.0, 1.0), (-0.5, 1.0)])
def test_planes_around_activations_over_the_largest_numbers(activation: ops.Elementwise, ends: tuple) -> None:
    lower, upper = (torch.full((1, 1), share * LARGEST) for share in ends)
    planes = relax(activation, IntervalBounds(lower, upper))
    x = torch.linspace(-1, 1, 401, dtype=torch.float64)
    x = (lower.double() / 2 + upper.double() / 2 + x * (upper.double() / 2 - lower.double() / 2)).flatten()
    value = activation.evaluate(x)
    slack = 1e-6 * (1 + value.abs())
    below = planes.lower_slope.double().flatten() * x + planes.lower_bias.double().flatten()
    above = planes.upper_slope.double().flatten() * x + planes.upper_bias.double().flatten()
    assert bool((below <= value + slack).all() and (above >= value - slack).all())
