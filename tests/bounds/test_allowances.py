"""Allowances for rounding: bounds hold for evaluations in single precision, and ties are told apart."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from calipers.bounds import METHODS, WorkBudget
from calipers.bounds.precision import in_double, refined_margins
from calipers.bounds.propagation.interval import interval_bounds
from calipers.bounds.rounding import input_bounds, interval_rows, noises, rounded_down, row_error
from calipers.core.intervals import IntervalBounds
from calipers.core.norms import Norm
from calipers.core.problem import Specification
from calipers.core.sets import Box, LpBall
from tests.nets import FAMILIES, points, random_graph

SEEDS = st.integers(0, 2**16)


@pytest.mark.parametrize("family", FAMILIES)
def test_intervals_hold_single_precision_of_networks_with_large_values(family: str) -> None:
    exact = random_graph(family, 3)
    graph = exact.to(torch.float32)
    x = 1e4 * torch.rand(2, *graph.input_shape, generator=torch.Generator().manual_seed(0))
    box = Box(x, x + 1e-3)
    bounds = interval_bounds(graph, box)
    inside = points(box, 20, 0).flatten(0, 1)
    image = torch.arange(2).repeat(20)
    for values in (graph.values(inside), exact.values(inside.double())):
        for value, bound in zip(values, bounds, strict=True):
            assert bool((value >= bound.lower[image]).all() and (value <= bound.upper[image]).all())


def test_noise_starts_anew_after_every_nonlinearity() -> None:
    graph = random_graph("residual", 1)
    x = torch.rand(1, *graph.input_shape, dtype=torch.float64)
    found = noises(graph, interval_bounds(graph, Box(x - 0.1, x + 0.1)))
    for node, noise in zip(graph.nodes, found, strict=True):
        name = type(node.op).__name__
        assert bool((noise == 0).all()) == (name in ("Input", "Relu", "Reshape")), name


@given(SEEDS)
def test_rows_over_intervals_are_bounded_from_below(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    low = torch.randn(1, 4, generator=generator) * 10.0 ** (seed % 7)
    outputs = IntervalBounds(low, low + torch.rand(1, 4, generator=generator))
    C, d = torch.randn(1, 3, 4, generator=generator), torch.randn(1, 3, generator=generator)
    found = interval_rows(Specification(C, d), outputs)
    ends = torch.where(C > 0, outputs.lower.unsqueeze(1), outputs.upper.unsqueeze(1))
    assert bool((found.double() <= (C.double() * ends.double()).sum(-1) + d.double() + 1e-300).all())
    computed = (C * ends).sum(-1) + d
    true = (C.double() * ends.double()).sum(-1) + d.double()
    assert bool(((computed.double() - true).abs() <= row_error(C, d, outputs)).all())


def test_ties_are_exact() -> None:
    outputs = IntervalBounds(torch.tensor([[0.0, 0.1]]), torch.tensor([[1.0, 0.1]]))
    C = torch.tensor([[[1.0, 0.0], [-1.0, 0.0], [0.0, -1.0], [0.0, -1.0]]])
    tenth = torch.tensor(0.1)
    d = torch.stack([torch.tensor(0.0), torch.tensor(1.0), tenth, torch.nextafter(tenth, torch.tensor(0.0))])
    assert interval_rows(Specification(C, d.unsqueeze(0)), outputs)[0].sign().tolist() == [0, 0, 0, -1]
    assert bool((row_error(C, d.unsqueeze(0), outputs) == 0).all())


@given(st.floats(allow_nan=False, allow_infinity=False, width=64))
def test_numbers_are_rounded_down(value: float) -> None:
    exact = torch.tensor([value], dtype=torch.float64)
    found = rounded_down(exact, torch.float32)
    assert bool(found.double() <= exact)
    assert bool((exact >= 0) == (found >= 0)) or bool(exact > 0)


def test_the_ends_of_a_ball_are_rounded_outwards() -> None:
    center = torch.rand(1, 50, generator=torch.Generator().manual_seed(0))
    for radius in (0.03, 1e-9):
        ball = LpBall(center, torch.tensor([radius]), Norm.LINF, torch.tensor(0.3), (0.0, 1.0))
        bounds, box = input_bounds(ball), in_double(ball).box()
        reach = center.double() + radius * 0.3
        assert bool((bounds.upper.double() >= reach.clamp(max=1)).all())
        assert torch.equal(box.upper, bounds.upper.double())
    exact = Box(center, center)
    assert torch.equal(input_bounds(exact).upper, center)


@pytest.mark.parametrize("name", ["fused", "forward"])
def test_what_single_precision_is_too_coarse_for_is_bounded_in_double(name: str) -> None:
    """A margin far below what bounds in single precision round, and above what the network does."""
    graph = random_graph("mlp", 2)
    x = torch.rand(1, *graph.input_shape, generator=torch.Generator().manual_seed(1))
    outputs = graph.evaluate(x.double())
    C = torch.tensor([[[1.0, 0.0, 0.0]]])
    single = graph.to(torch.float32)

    def ask(shift: float) -> tuple[bool, bool]:
        spec = Specification(C, (shift - outputs[:, :1]).float())
        box = Box(x, x)
        with torch.no_grad():
            plain = METHODS[name].margins(single, box, spec, WorkBudget())
            return bool(plain.proven), bool(refined_margins(METHODS[name], single, box, spec, WorkBudget()).proven)

    shifts = [2.0**-k for k in range(4, 30)]
    found = [ask(shift) for shift in shifts]
    assert found[0] == (True, True)
    assert found[-1] == (False, False)  # within what the network itself may round
    assert (False, True) in found
    assert all(refined or not plain for plain, refined in found)
