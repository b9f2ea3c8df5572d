"""The allowance covers every slip that it is meant for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from calipers.bounds.propagation.interval import interval_bounds
from calipers.core.problem import Specification
from calipers.core.sets import Box
from calipers.graph import ops
from calipers.graph.rewrite import with_maxima
from calipers.verify.milp import encode
from calipers.verify.milp.tolerance import CHARGED, Scales, allowance
from tests.nets import FAMILIES, random_graph

EXACT = [family for family in FAMILIES if not family.startswith("smooth")]


def task(family: str, seed: int) -> tuple:
    graph = with_maxima(random_graph(family, seed % 6))
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, *graph.input_shape, generator=generator, dtype=torch.float64)
    box = Box(x - 0.1, x + 0.1)
    C = torch.randn(1, 4, 3, generator=generator, dtype=torch.float64)
    spec = Specification(C, torch.randn(1, 4, generator=generator, dtype=torch.float64))
    return graph, box, spec, generator


@pytest.mark.parametrize("family", EXACT)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_slips_of_the_charged_size_stay_within_the_allowance(family: str, seed: int) -> None:
    """Every input and every maximum is off by what a condition may be broken by, in random directions."""
    graph, box, spec, generator = task(family, seed)
    scales = Scales.of(graph, box)
    bounds = interval_bounds(graph, box)
    program = encode(graph, bounds, box).program
    allowed = allowance(graph, box, scales, bounds, program, spec)
    x = box.sample(generator)
    exact = graph.values(x)
    slipped = [x + _slip(x, generator)]
    for position, node in enumerate(graph.nodes[1:], start=1):
        value = node.op.evaluate(*(slipped[i] for i in node.inputs))
        maximum = isinstance(node.op, ops.Nonlinear)
        slipped.append(value + _slip(scales.magnitude[position], generator) if maximum else value)
    moved = (spec.margins(slipped[-1]) - spec.margins(exact[-1])).abs()
    assert bool((moved > 0).all())
    assert bool((moved <= allowed).all())


def _slip(size: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(size.shape, generator=generator, dtype=size.dtype).sign() * 2 * CHARGED * (1 + size.abs())


@pytest.mark.parametrize("family", EXACT)
def test_magnitudes_enclose_every_value(family: str) -> None:
    graph, box, _, generator = task(family, 1)
    scales = Scales.of(graph, box)
    for _ in range(20):
        for value, size in zip(graph.values(box.sample(generator)), scales.magnitude, strict=True):
            assert bool((value.abs() <= size * (1 + 1e-12)).all())


def test_bounds_move_outwards() -> None:
    graph, box, _, _ = task("conv", 1)
    bounds = interval_bounds(graph, box)
    for before, after in zip(bounds, Scales.of(graph, box).outwards(bounds), strict=True):
        assert bool((after.lower < before.lower).all() and (after.upper > before.upper).all())
        assert torch.allclose(after.lower, before.lower, atol=1e-9)
