import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from calipers.bounds import COMBINED, FUSED, OPTIMISED, Optimised, WorkBudget
from calipers.bounds.relaxations.planes import MaxPoolPlanes, ReluPlanes, project_simplex
from calipers.bounds.relaxations.window import pixels
from calipers.core.intervals import IntervalBounds
from calipers.graph import ops
from tests.bounds.relaxations.test_relaxations import intervals, sandwiched
from tests.bounds.test_cascade import instance
from tests.nets import FAMILIES

BUDGET = WorkBudget()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_search_never_ends_looser_than_it_starts_and_gains_somewhere(family: str) -> None:
    gain = 0.0
    for seed in range(6):
        task = instance(family, seed)
        start = FUSED.margins(*task, BUDGET)
        found = Optimised("search", FUSED).margins(*task, BUDGET)
        assert bool((found.lower >= start.lower - 1e-12).all())
        proven = start.proven
        assert torch.equal(found.lower[proven], start.lower[proven])
        gain += float((found.lower - start.lower).sum())
    searchable = any(isinstance(node.op, ops.Relu | ops.MaxPool2d) for node in task[0].nodes)
    assert (gain > 0) == searchable


@pytest.mark.parametrize("family", ["overlap", "conv"])
def test_optimised_proves_what_combined_proves(family: str) -> None:
    for seed in range(8):
        task = instance(family, seed)
        one, two = COMBINED.margins(*task, BUDGET), OPTIMISED.margins(*task, BUDGET)
        assert not bool((one.proven & ~two.proven).any())


def test_images_are_searched_apart_so_chunks_change_little() -> None:
    """Not nothing: the search turns differences in rounding into other steps at its kinks."""
    task = instance("pooled", 4)
    whole = Optimised("search", FUSED).margins(*task, BUDGET)
    pieces = Optimised("search", FUSED).margins(*task, WorkBudget(1))
    assert torch.allclose(whole.lower, pieces.lower, atol=1e-2)


@given(st.integers(0, 10_000))
def test_every_projected_member_is_sound(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    bounds = intervals((1, 2, 5, 5), seed)
    op = ops.MaxPool2d((2, 2), (1, 1), (1, 1), floor=0.0 if seed % 2 else None)
    pool, relu = MaxPoolPlanes.of(op, bounds), ReluPlanes.of(bounds)
    for family in (pool, relu):
        for variable in family.variables:
            variable.data += torch.randn(variable.shape, generator=generator, dtype=torch.float64)
        family.project()
    for i in range(6):
        share = torch.rand(bounds.lower.shape, generator=generator, dtype=torch.float64)
        z = bounds.lower + (share.round() if i % 2 else share) * (bounds.upper - bounds.lower)
        with torch.no_grad():
            inside = torch.where(torch.isfinite(pixels(op, z)), pixels(op, z), 0.0)
            assert sandwiched(pool.relaxation(bounds), inside, op.evaluate(z))
            assert sandwiched(relu.relaxation(bounds), z, z.clamp(min=0))


@given(st.integers(0, 10_000))
def test_simplex_projection_is_the_nearest_point(seed: int) -> None:
    v = torch.randn(1, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = project_simplex(v)[0]
    assert float(found.sum()) == pytest.approx(1)
    assert float(found.min()) >= 0
    constraint = {"type": "eq", "fun": lambda w: w.sum() - 1}
    best = minimize(
        lambda w: ((w - v[0].numpy()) ** 2).sum(), [0.25] * 4, bounds=[(0, 1)] * 4, constraints=[constraint]
    )
    assert float(((found - v[0]) ** 2).sum()) <= best.fun + 1e-6


def test_a_fixed_zero_stays_zero() -> None:
    assert project_simplex(torch.tensor([[3.0, -torch.inf, 1.0]])).tolist() == [[1, 0, 0]]


def test_bounds_without_unstable_neurons_have_nothing_to_search() -> None:
    bounds = IntervalBounds(torch.ones(1, 3), torch.full((1, 3), 2.0))
    planes = ReluPlanes.of(bounds)
    planes.alpha.data -= 0.7
    assert planes.relaxation(bounds).lower_slope.tolist() == [[1, 1, 1]]
