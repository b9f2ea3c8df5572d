"""Forward bounds: every node is enclosed; how they stand to intervals and to the walk back; memory."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from calipers.bounds import FORWARD, FUSED, IBP, WorkBudget
from calipers.bounds.cost import enclosure_bytes, last_uses
from calipers.bounds.propagation.affine import AffineMap, Enclosed, push
from calipers.bounds.propagation.forward import quick_intervals
from calipers.bounds.propagation.free import free_inputs
from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.bounds.relaxations.window import Windows, pixels
from calipers.core.errors import InputError
from calipers.core.intervals import IntervalBounds
from calipers.core.problem import Problem, Specification
from calipers.core.sets import Box, InputSet
from calipers.graph import ops
from calipers.graph.graph import Graph, Node
from calipers.graph.rewrite import fuse_windows
from calipers.verify import BoundVerifier
from tests.nets import FAMILIES, points, random_graph, random_set

SEEDS = st.integers(0, 2**16)
BUDGET = WorkBudget()


def rows(seed: int, batch: int = 2) -> Specification:
    generator = torch.Generator().manual_seed(seed)
    C = torch.randn(batch, 3, 3, generator=generator, dtype=torch.float64)
    return Specification(C, torch.randn(batch, 3, generator=generator, dtype=torch.float64))


def few_inputs(graph: Graph, seed: int, free: int = 3) -> Box:
    """Boxes in which all inputs but a few are fixed, not the same ones in each."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(2, *graph.input_shape, generator=generator, dtype=torch.float64)
    width = torch.zeros_like(x).flatten(1)
    for one in width:
        one[torch.randperm(len(one), generator=generator)[:free]] = 0.3 * float(torch.rand(1, generator=generator))
    width = width.reshape(x.shape)
    return Box(x - width, x + width)


def at(one: AffineMap, inputs: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bi,bi...->b...", inputs, one.coefficient) + one.constant


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=6, deadline=None)
@given(seed=SEEDS)
def test_every_node_is_enclosed(family: str, seed: int) -> None:
    graph = fuse_windows(random_graph(family, seed % 6))
    sets: InputSet = few_inputs(graph, seed) if seed % 2 else random_set(graph.input_shape, seed)
    found = FORWARD.propagate(graph, sets, set(range(len(graph.nodes))))
    for x in points(sets, 10, seed):
        inputs = x.flatten(1)[:, free_inputs(sets)]
        for position, value in enumerate(graph.values(x)):
            enclosure, interval = found.values[position], found.intervals[position]
            maps = at(enclosure.lower, inputs) - enclosure.noise, at(enclosure.upper, inputs) + enclosure.noise
            for low, high in (maps, (interval.lower, interval.upper)):
                slack = 1e-9 * (1 + value.abs())
                assert bool((low <= value + slack).all())
                assert bool((high >= value - slack).all())


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=5, deadline=None)
@given(seed=SEEDS)
def test_never_looser_than_intervals(family: str, seed: int) -> None:
    graph, spec = random_graph(family, seed % 6), rows(seed)
    for sets in (few_inputs(graph, seed), random_set(graph.input_shape, seed)):
        forward, interval = (method.margins(graph, sets, spec, BUDGET) for method in (FORWARD, IBP))
        assert bool((forward.lower >= interval.lower - 1e-9).all())


def test_with_one_hidden_layer_forward_and_backward_agree() -> None:
    """Then both meet the same planes, of the same exact intervals, in one step."""
    for seed in range(8):
        nodes = random_graph("mlp", seed).nodes
        hidden, out = nodes[:3], nodes[2].shape[0]
        generator = torch.Generator().manual_seed(seed)
        weight, bias = (torch.randn(*shape, generator=generator).double() for shape in ((3, out), (3,)))
        graph = Graph((*hidden, Node("out", ops.Linear(weight, bias), (2,), (3,))))
        box, spec = random_set(graph.input_shape, seed).box(), rows(seed)
        forward, backward, interval = (m.margins(graph, box, spec, BUDGET).lower for m in (FORWARD, FUSED, IBP))
        assert torch.allclose(forward, torch.maximum(backward, interval), atol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_on_a_point_it_is_the_value(family: str) -> None:
    graph, spec = random_graph(family, 1), rows(1)
    x = torch.rand(2, *graph.input_shape, dtype=torch.float64)
    bounds = FORWARD.margins(graph, Box(x, x), spec, BUDGET)
    lost = spec.margins(graph.evaluate(x)) - bounds.lower
    assert bool((lost >= 0).all() and (lost <= 1e-3).all())  # what single precision may round


@pytest.mark.parametrize("op", [ops.Relu(), ops.MaxPool2d((2, 2), (1, 1), (1, 0), floor=0.2)], ids=["relu", "pool"])
@given(seed=SEEDS)
@settings(max_examples=20)
def test_planes_of_any_slope_are_followed(op: ops.Op, seed: int) -> None:
    """Slopes of both signs, although no method here chooses negative ones."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 3, 3)
    low, high = (
        AffineMap(torch.randn(1, 4, *shape, generator=generator), torch.randn(1, *shape, generator=generator) + shift)
        for shift in (-4.0, 4.0)
    )
    bounds = IntervalBounds(*(s * torch.rand(1, *shape, generator=generator) * 3 for s in (-1, 1)))
    value = op.evaluate(bounds.lower)
    slopes = [torch.randn(1, 4, *value.shape[1:], generator=generator) for _ in range(2)]
    slopes = slopes if isinstance(op, ops.MaxPool2d) else [slope[:, 0] for slope in slopes]
    bias = torch.zeros_like(value)
    planes = Relaxation(slopes[0], bias, slopes[1], bias)
    found = push(op, [Enclosed(low, high, torch.zeros_like(low.constant))], torch.zeros_like(bias), planes)
    for x in torch.randn(20, 1, 4, generator=generator):
        ends = at(low, x), at(high, x)
        inner = torch.minimum(*ends) + torch.rand(1, *shape, generator=generator) * (ends[1] - ends[0]).abs()
        if bool((ends[0] > ends[1]).any()):
            continue  # the maps are only an enclosure where they are in order
        laid = pixels(op, inner).nan_to_num(neginf=0) if isinstance(op, ops.MaxPool2d) else inner
        below, above = ((slope * laid).sum(1) if laid.dim() > 4 else slope * laid for slope in slopes)
        assert bool((at(found.lower, x) <= below + 1e-4).all())
        assert bool((at(found.upper, x) >= above - 1e-4).all())


def test_fixed_inputs_cost_nothing() -> None:
    graph = random_graph("conv", 2)
    box = few_inputs(graph, 2)[:1]
    found = FORWARD.propagate(graph, box, {graph.output}).values[graph.output]
    assert found.lower.coefficient.shape[:2] == (1, 3)
    hair = Box(box.lower - 1e-9, box.upper + 1e-9)
    assert FORWARD.propagate(graph, hair, {1}).values[1].lower.coefficient.shape[1] == math.prod(graph.input_shape)
    near, spec = FORWARD.margins(graph, hair, rows(2, 1), BUDGET), rows(2, 1)
    assert torch.allclose(FORWARD.margins(graph, box, spec, BUDGET).lower, near.lower, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_small_chunks_change_nothing(family: str) -> None:
    graph, spec = random_graph(family, 3), rows(3, 5)
    sets = random_set(graph.input_shape, 3, batch=5)
    single = enclosure_bytes(fuse_windows(graph), math.prod(graph.input_shape), 8)
    whole, pieces = (FORWARD.margins(graph, sets, spec, budget) for budget in (BUDGET, WorkBudget(2 * single)))
    assert torch.allclose(whole.lower, pieces.lower, atol=1e-9)


def test_a_set_beyond_the_budget_is_refused_before_the_work() -> None:
    graph = random_graph("conv", 0)
    sets = random_set(graph.input_shape, 0)
    inputs = math.prod(graph.input_shape)
    needed = enclosure_bytes(fuse_windows(graph), inputs, 8)
    FORWARD.require(graph, sets, WorkBudget(needed))
    verifier = BoundVerifier(FORWARD, WorkBudget(needed - 1))
    for refuse in (verifier.require, lambda g, s: verifier.verify(g, Problem("net", (0, 1), s, rows(0)))):
        with pytest.raises(InputError, match=rf"forward: {inputs} free inputs need .* MiB .*--memory"):
            refuse(graph, sets)
    FORWARD.require(graph, few_inputs(graph, 0), WorkBudget(needed - 1))


def test_values_are_dropped_after_their_last_use() -> None:
    graph = random_graph("residual", 0)
    last = last_uses(graph, {graph.output})
    for position, node in enumerate(graph.nodes):
        users = [i for i, other in enumerate(graph.nodes) if position in other.inputs]
        assert last[position] == (max(users) if users else len(graph.nodes)), node.name
    found = FORWARD.propagate(graph, random_set(graph.input_shape, 0), {graph.output})
    assert set(found.values) == {graph.output}


def test_windows_of_the_padding_have_no_part() -> None:
    op = ops.MaxPool2d((2, 2), (1, 1), (1, 1))
    bounds = IntervalBounds(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    planes = FUSED.relax(op, bounds)
    outside = torch.isinf(Windows.of(op, bounds).lower)
    assert not bool(planes.lower_slope[outside].any() or planes.upper_slope[outside].any())


def test_one_pass_forward_settles_neurons_where_few_inputs_are_free() -> None:
    graph = random_graph("conv", 3)
    box = few_inputs(graph, 3)
    found = quick_intervals(FUSED, graph, box, BUDGET)
    assert found.keys() == {i for node in graph.nodes if isinstance(node.op, ops.Nonlinear) for i in node.inputs} - {0}
    generator = torch.Generator().manual_seed(0)
    for values in (graph.values(box.sample(generator)) for _ in range(50)):
        for i, interval in found.items():
            assert bool((interval.lower - 1e-9 <= values[i]).all())
            assert bool((values[i] <= interval.upper + 1e-9).all())
    assert quick_intervals(FUSED, graph, box, WorkBudget(bytes=1)) == {}


def test_one_pass_forward_is_left_out_where_many_inputs_are_free() -> None:
    graph = random_graph("conv", 3)
    assert quick_intervals(FUSED, graph, few_inputs(graph, 3, free=33), BUDGET) == {}
