"""Windows of rows against the same rows over the whole value."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from calipers.bounds.budget import WorkBudget
from calipers.bounds.propagation.backsubstitution import backsubstitute
from calipers.bounds.propagation.concretize import concretize
from calipers.bounds.propagation.linear import CAPM
from calipers.bounds.propagation.rows import Rows, clip_to_value, windows
from calipers.bounds.propagation.start import identity_rows, select
from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.bounds.rounding import concretized
from calipers.core.problem import Specification
from calipers.graph import ops
from calipers.graph.graph import Graph, Node
from calipers.graph.ops import Pair
from tests.nets import FAMILIES, NETWORKS, random_graph, random_set

SEEDS = st.integers(0, 2**16)


@pytest.mark.parametrize("family", ["conv", "pooled", "padded", "overlap", "pool-first", "normalised"])
@settings(max_examples=5, deadline=None)
@given(seed=SEEDS)
def test_windowed_rows_give_the_bounds_of_dense_rows(family: str, seed: int) -> None:
    graph = random_graph(family, seed % NETWORKS)
    sets = random_set(graph.input_shape, seed)
    relaxations = CAPM.propagate(graph, sets, WorkBudget()).relaxations
    for position, node in enumerate(graph.nodes):
        if not isinstance(node.op, ops.Conv2d) or position == 0:
            continue
        chosen = select(torch.rand(2, *node.shape, generator=torch.Generator().manual_seed(seed)) < 0.6)
        rows = identity_rows(node, chosen, 2, torch.float64)
        near = concretize(sets, backsubstitute(graph, position, rows, relaxations, None)[0])
        far = concretize(sets, backsubstitute(graph, position, rows.dense(), relaxations, None)[0])
        assert torch.allclose(near, far, atol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_small_chunks_change_nothing(family: str) -> None:
    graph = random_graph(family, 3)
    sets = random_set(graph.input_shape, 3)
    specification = Specification.classified_as(torch.tensor([0, 1]), 3)
    specification = Specification(specification.C.double(), specification.d.double())
    whole = CAPM.margins(graph, sets, specification, WorkBudget())
    pieces = CAPM.margins(graph, sets, specification, WorkBudget(1))
    assert torch.allclose(whole.lower, pieces.lower, atol=1e-9)


def test_an_affine_network_is_bounded_exactly() -> None:
    graph = random_graph("mlp", 0)
    affine = replace(graph, nodes=graph.nodes[:2])
    sets = random_set(graph.input_shape, 10)
    specification = Specification(torch.randn(2, 3, 6).double(), torch.randn(2, 3).double())
    lower = CAPM.margins(affine, sets, specification, WorkBudget()).lower
    layer = affine.nodes[1].op
    assert isinstance(layer, ops.Linear)
    row = specification.C @ layer.weight
    corner = torch.where(row > 0, sets.box().lower[:, None], sets.box().upper[:, None])
    exact = (row * corner).sum(-1) + (specification.C * layer.bias).sum(-1) + specification.d
    lost = exact - lower
    assert bool((lost > 0).all() and (lost < 1e-4).all())  # what single precision may round


@given(SEEDS)
def test_windows_are_slices_with_zeros_outside(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(2, 3, 5, 4, generator=generator)
    corner = torch.randint(-3, 6, (7, 2), generator=generator)
    image = torch.randint(0, 2, (7,), generator=generator)
    found = windows(values, image, corner, (3, 2))
    for g in range(7):
        for dy in range(3):
            for dx in range(2):
                y, x = int(corner[g, 0]) + dy, int(corner[g, 1]) + dx
                inside = 0 <= y < 5 and 0 <= x < 4
                expected = values[image[g], :, y, x] if inside else torch.zeros(3)
                assert torch.equal(found[g, :, dy, dx], expected)


@given(SEEDS)
def test_selection_covers_exactly_the_wanted_neurons(seed: int) -> None:
    wanted = torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(seed)) < 0.4
    chosen = select(wanted)
    covered = torch.zeros(2, 12, dtype=torch.bool)
    covered[chosen.image[:, None], chosen.neuron] = True
    assert torch.equal(covered.reshape(wanted.shape), wanted)
    flat = select(wanted.flatten(1))
    covered = torch.zeros(2, 12, dtype=torch.bool)
    covered[flat.image[:, None], flat.neuron] = True
    assert torch.equal(covered, wanted.flatten(1))


def test_a_plane_that_a_row_does_not_take_leaves_no_rounding_behind() -> None:
    """Huge planes above entries with positive coefficients must not show in a lower bound, at any size."""
    generator = torch.Generator().manual_seed(0)
    count = 200
    slope, bias = torch.rand(1, count, generator=generator), torch.rand(1, count, generator=generator)
    huge = torch.arange(count)[None] % 2 == 0
    relaxation = Relaxation(slope, torch.zeros_like(bias), torch.where(huge, 1e9, slope), torch.where(huge, 1e9, bias))
    graph = Graph((Node("x", ops.Input(), (), (count,)), Node("relu", ops.Relu(), (0,), (count,))))
    sign = torch.where(huge, 1.0, -1.0)
    coefficient = (sign * torch.rand(1, count, generator=generator)).unsqueeze(0)
    rows = Rows(coefficient, torch.zeros(1, 1, 1), torch.zeros(1).long(), None, (count,))
    pulled = backsubstitute(graph, 1, rows, {1: relaxation}, None)[0]
    assert torch.equal(pulled.coefficient[0], coefficient[0] * slope)
    expected = float((coefficient[0] * bias).double()[~huge].sum())
    assert abs(float(pulled.constant) - expected) <= 1e-5


@pytest.mark.parametrize(("groups", "size"), [(3, (2, 5, 5)), (2, (3, 16, 16)), (9, (3, 16, 16)), (1, (7, 19, 23))])
@pytest.mark.parametrize("last", [False, True])
def test_long_sums_stay_within_what_their_pieces_are_charged(groups: int, size: tuple[int, ...], last: bool) -> None:
    generator = torch.Generator().manual_seed(groups)
    coefficient = torch.randn(groups, 4, *size, generator=generator)
    if last:
        coefficient = coefficient.movedim(2, -1).contiguous().movedim(-1, 2)
    values = torch.randn(groups, *size, generator=generator)
    rows = Rows(coefficient, torch.zeros(2, groups, 4), torch.arange(groups), None, size)
    exact = (coefficient.double() * values.double().unsqueeze(1)).flatten(2)
    error = concretized(math.prod(size), torch.float32) * exact.abs().sum(2)
    assert bool(((rows.dot(rows.spread(values)).double() - exact.sum(2)).abs() <= error).all())


def test_parallel_planes_are_walked_by_their_middle_and_half_their_distance() -> None:
    generator = torch.Generator().manual_seed(0)
    coefficient = torch.randn(2, 3, 50, generator=generator).double()
    lower, upper = torch.randn(2, 2, 50, generator=generator).double().sort(0).values
    slope = torch.ones_like(lower)
    planes = Relaxation(slope, lower, slope, upper)
    rows = Rows(coefficient, torch.randn(2, 2, 3, generator=generator).double(), torch.arange(2), None, (50,))
    positive, negative = coefficient.clamp(min=0), coefficient.clamp(max=0)
    ends = [
        (positive * one.unsqueeze(1) + negative * two.unsqueeze(1)).sum(2)
        for one, two in ((lower, upper), (upper, lower))
    ]
    assert torch.allclose(rows.extremes(planes.middle, planes.half), rows.constant + torch.stack(ends))


def rows_at(corner: torch.Tensor, window: tuple[int, int], generator: torch.Generator, last: bool) -> Rows:
    """Rows over windows of a value (2, 6, 7), no coefficient outside of it."""
    groups, count, channels = len(corner), 3, 2
    coefficient = torch.randn(groups, count, channels, *window, generator=generator)
    coefficient = clip_to_value(coefficient, corner, (channels, 6, 7))
    if last:
        coefficient = coefficient.movedim(2, -1).contiguous().movedim(-1, 2)
    constant = torch.randn(2, groups, count, generator=generator)
    return Rows(coefficient, constant, torch.zeros(groups).long(), corner, (channels, 6, 7))


@settings(max_examples=60)
@given(SEEDS, st.booleans(), st.booleans())
def test_rows_over_different_windows_add_up_as_over_the_whole_value(seed: int, together: bool, last: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.randint(-2, 6, (4, 2), generator=generator)
    apart = torch.randint(-3, 4, (1 if together else 4, 2), generator=generator)
    size = torch.randint(1, 5, (4,), generator=generator).tolist()
    one = rows_at(corner, (size[0], size[1]), generator, last)
    two = rows_at(corner + apart, (size[2], size[3]), generator, last)
    found = one + two
    assert torch.equal(found.dense().coefficient, one.dense().coefficient + two.dense().coefficient)
    assert torch.equal(found.constant, one.constant + two.constant)
    values = torch.randn(1, 2, 6, 7, generator=generator)
    expected = one.dot(one.spread(values)) + two.dot(two.spread(values))
    torch.testing.assert_close(found.dot(found.spread(values)), expected, atol=1e-5, rtol=1e-5)
    # Windows that move together stay one window, where that is smaller than the value.
    top, left = (torch.minimum(torch.zeros(2), apart[0]) if together else torch.zeros(2)).long().tolist()
    height = max(size[0], size[2] + int(apart[0, 0])) - top
    width = max(size[1], size[3] + int(apart[0, 1])) - left
    if together and height * width < 42:
        assert found.corner is not None
        assert found.window == (height, width)


@pytest.mark.parametrize("kernel", [(2, 2), (1, 3), (3, 2), (2, 1)])
@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("windowed", [True, False])
def test_windows_side_by_side_are_pulled_back_as_any_others(kernel: Pair, parallel: bool, windowed: bool) -> None:
    generator = torch.Generator().manual_seed(sum(kernel))
    outputs, channels = (3, 4), 5
    source = (channels, outputs[0] * kernel[0], outputs[1] * kernel[1])
    pool = ops.MaxPool2d(kernel, kernel)
    pixels = len(pool.pixels)
    slope = torch.rand(2, pixels, channels, *outputs, generator=generator)
    bias = torch.rand(2, channels, *outputs, generator=generator)
    above = slope if parallel else torch.rand(2, pixels, channels, *outputs, generator=generator)
    relaxation = Relaxation(slope, -bias, above, bias)
    if windowed:
        corner = torch.tensor([[0, 0], [1, 2], [1, 1]])
        coefficient = torch.randn(3, 2, channels, 2, 2, generator=generator)
    else:
        corner, coefficient = None, torch.randn(3, 2, channels, *outputs, generator=generator)
    image = torch.tensor([0, 1, 1])
    rows = Rows(coefficient, torch.zeros(2, 3, 2), image, corner, (channels, *outputs))
    graph = Graph((Node("x", ops.Input(), (), source), Node("pool", pool, (0,), (channels, *outputs))))
    with torch.no_grad():
        fast = backsubstitute(graph, 1, rows, {1: relaxation}, None)[0].dense()
    with torch.enable_grad():  # pixel by pixel, as windows that overlap are
        general = backsubstitute(graph, 1, rows, {1: relaxation}, None)[0].dense()
    torch.testing.assert_close(fast.coefficient, general.coefficient)
    torch.testing.assert_close(fast.constant, general.constant)
    # By hand: every pixel gets its output's coefficient times its slope.
    whole = rows.split().dense().coefficient if not parallel else rows.dense().coefficient
    expected = torch.zeros(3, whole.shape[1], *source)
    for pixel, (dy, dx) in enumerate(pool.pixels):
        positive, negative = whole.clamp(min=0), whole.clamp(max=0)
        share = positive * slope[image, pixel].unsqueeze(1) + negative * above[image, pixel].unsqueeze(1)
        expected[..., dy :: kernel[0], dx :: kernel[1]] = share
    torch.testing.assert_close(fast.coefficient, expected)
