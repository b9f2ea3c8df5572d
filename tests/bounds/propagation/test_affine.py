"""Affine operations: walking back is exact, over the whole value and over windows, and intervals are the tightest."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from calipers.bounds import FORWARD
from calipers.bounds.propagation.backsubstitution import backsubstitute
from calipers.bounds.propagation.free import free_inputs
from calipers.bounds.propagation.interval import exact_nodes, interval_bounds
from calipers.bounds.propagation.rows import Rows
from calipers.bounds.propagation.start import identity_rows, select
from calipers.core.norms import Norm
from calipers.core.sets import Box, LpBall
from calipers.graph import ops
from calipers.graph.graph import Graph, Node

SHAPE = (2, 5, 4)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


AFFINE: dict[str, ops.Op] = {
    "conv": ops.Conv2d(random(4, 1, 3, 2), random(4), (2, 1), (1, 1), (1, 2), 2),
    "transposed": ops.ConvTranspose2d(random(2, 3, 3, 2), random(3), (2, 3), (1, 0), (1, 1)),
    "transposed grouped": ops.ConvTranspose2d(random(2, 2, 2, 3), random(4), (1, 1), (1, 1), (1, 1), (2, 2), 2),
    "scale": ops.Scale(random(2, 1, 1), random(2, 5, 4)),
    "transpose": ops.Gather(torch.arange(40).reshape(SHAPE).permute(2, 0, 1).contiguous()),
    "repeat": ops.Gather(torch.tensor([[[0, 0, 39], [7, 7, 7]]])),
    "pad": ops.Pad((0, 1, 0), (0, 0, 2), 0.7),
    "pad channels": ops.Pad((1, 0, 2), (0, 1, 0), -1.5),
    "crop": ops.Pad((0, -1, 0), (0, 0, -2)),
    "crop channels and pad": ops.Pad((-1, 2, -1), (0, -1, 3), 2.0),
    "reshape": ops.Reshape((4, 5, 2)),
}


def chain(*steps: ops.Op) -> Graph:
    nodes = [Node("x", ops.Input(), (), SHAPE)]
    for op in steps:
        value = op.evaluate(torch.zeros(1, *nodes[-1].shape, dtype=torch.float64))
        nodes.append(Node("op", op, (len(nodes) - 1,), tuple(value.shape[1:])))
    return Graph(tuple(nodes))


def evaluated(rows: Rows, x: torch.Tensor) -> torch.Tensor:
    return rows.dot(rows.spread(x)) + rows.constant[0]


def check(graph: Graph, seed: int) -> None:
    x = random(3, *SHAPE, seed=seed)
    value = graph.evaluate(x)
    last = graph.nodes[-1]
    chosen = select(random(3, *last.shape, seed=seed + 1) < 0.4)
    rows = identity_rows(last, chosen, 2, torch.float64)
    expected = value.flatten(1)[chosen.image[:, None], chosen.neuron]
    for start in (rows, rows.dense()):
        found = backsubstitute(graph, graph.output, start, {}, None)[0]
        assert torch.allclose(evaluated(found, x), expected, atol=1e-10)


@pytest.mark.parametrize("name", AFFINE)
@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_rows_walk_back_exactly(name: str, seed: int) -> None:
    check(chain(AFFINE[name]), seed)
    # A convolution behind opens windows of more than one pixel.
    channels = chain(AFFINE[name]).nodes[-1].shape[0]
    check(chain(AFFINE[name], ops.Conv2d(random(3, channels, 1, 2), random(3), padding=(0, 1))), seed)


def check_forward(graph: Graph, seed: int) -> None:
    middle = random(3, *SHAPE, seed=seed)
    free = (random(*SHAPE, seed=seed + 1) < 0.3).double()
    box = Box(middle - free, middle + free)
    found = FORWARD.propagate(graph, box, {graph.output}).values[graph.output]
    assert found.exact
    assert found.lower.coefficient.shape[1] == int(free.sum())
    x = box.sample(torch.Generator().manual_seed(seed))
    inputs = x.flatten(1)[:, free_inputs(box)]
    value = torch.einsum("bi,bi...->b...", inputs, found.lower.coefficient) + found.lower.constant
    assert torch.allclose(value, graph.evaluate(x), atol=1e-10)


@pytest.mark.parametrize("name", AFFINE)
@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_maps_go_forward_exactly(name: str, seed: int) -> None:
    check_forward(chain(AFFINE[name]), seed)
    first = chain(AFFINE["scale"])
    last = len(first.nodes) - 1
    shape = tuple(first.nodes[-1].shape)
    joined = Node("join", ops.Concat(2), (last, 0), (*shape[:2], 2 * shape[2]))
    check_forward(Graph((*first.nodes, joined)), seed)
    check_forward(Graph((*first.nodes, Node("sum", ops.Add(), (last, 0), shape))), seed)


@pytest.mark.parametrize("dim", [0, 1, 2])
@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_joined_values_get_their_share(dim: int, seed: int) -> None:
    first = chain(AFFINE["scale"])
    joined = ops.Concat(dim)
    shape = tuple(2 * s if i == dim else s for i, s in enumerate(SHAPE))
    conv = ops.Conv2d(random(3, shape[0], 2, 2), random(3))
    after = conv.evaluate(torch.zeros(1, *shape, dtype=torch.float64)).shape[1:]
    both = (*first.nodes, Node("join", joined, (1, 0), shape))
    check(Graph(both), seed)
    check(Graph((*both, Node("conv", conv, (2,), tuple(after)))), seed)
    twice = (first.nodes[0], Node("join", joined, (0, 0), shape))
    check(Graph(twice), seed)


@pytest.mark.parametrize("name", AFFINE)
def test_intervals_are_the_tightest(name: str) -> None:
    graph = chain(AFFINE[name])
    middle, radius = random(1, *SHAPE, seed=3), random(1, *SHAPE, seed=4).abs()
    box = Box(middle - radius, middle + radius)
    bounds = interval_bounds(graph, box)[-1]
    size = math.prod(SHAPE)
    constant = graph.evaluate(torch.zeros(1, *SHAPE, dtype=torch.float64))
    columns = graph.evaluate(torch.eye(size, dtype=torch.float64).reshape(size, *SHAPE)) - constant
    spread = torch.einsum("i,i...->...", radius.flatten(), columns.abs())
    value = graph.evaluate(middle)[0]
    # Wider by what single precision may round, and no more.
    assert bool((bounds.lower[0] <= value - spread).all() and (bounds.upper[0] >= value + spread).all())
    assert torch.allclose(bounds.lower[0], value - spread, atol=1e-5)
    assert torch.allclose(bounds.upper[0], value + spread, atol=1e-5)


def test_exact_nodes_stop_where_values_meet_again() -> None:
    box = Box(torch.zeros(1, *SHAPE), torch.ones(1, *SHAPE))
    graph = chain(AFFINE["repeat"], ops.Sigmoid(), ops.Conv2d(random(1, 1, 2, 2), random(1)))
    assert exact_nodes(graph, box) == {0, 1, 2}
    graph = chain(AFFINE["transpose"], ops.Sigmoid(), AFFINE["reshape"], ops.Conv2d(random(1, 4, 2, 2), random(1)))
    assert exact_nodes(graph, box) == {0, 1, 2, 3, 4}
    shared = (*chain(AFFINE["scale"]).nodes, Node("sum", ops.Add(), (0, 1), SHAPE))
    assert exact_nodes(Graph(shared), box) == {0, 1}
    ball = LpBall(box.lower, torch.ones(1), Norm.L2, torch.ones(()), None)
    assert exact_nodes(graph, ball) == {0}
