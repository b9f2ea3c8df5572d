import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from calipers.core.norms import Norm
from calipers.core.projections import l1_threshold, project_l1, project_l2
from tests.values import rows


@pytest.mark.parametrize(("norm", "project"), [(Norm.L1, project_l1), (Norm.L2, project_l2)])
def test_projection_is_the_nearest_point_of_the_ball(norm: Norm, project) -> None:
    for seed in range(5):
        point = torch.randn(1, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2
        found = project(point, torch.tensor([1.0], dtype=torch.float64))
        constraint = {"type": "ineq", "fun": lambda v: 1 - float(norm(torch.tensor(v)[None])[0])}
        target = point[0].numpy()
        best = minimize(lambda v, target=target: ((v - target) ** 2).sum(), [0.0] * 4, constraints=[constraint])
        assert float(((found - point) ** 2).sum()) <= best.fun + 1e-6
        assert float(norm(found)[0]) <= 1 + 1e-12


def test_points_inside_an_l1_ball_stay_even_if_all_are_inside() -> None:
    inside = torch.tensor([[0.1, -0.2], [-0.3, 0.05]])
    assert torch.equal(project_l1(inside, torch.ones(2)), inside)


def by_sorting(magnitude: Tensor, budget: Tensor) -> Tensor:
    """The threshold by Duchi et al. (2008), figure 1."""
    ordered = magnitude.sort(-1, descending=True).values
    excess = ordered.cumsum(-1) - budget[:, None]
    count = torch.arange(1, magnitude.shape[1] + 1, dtype=magnitude.dtype)
    last = (ordered * count > excess).sum(-1, keepdim=True).clamp_min(1)
    return (excess.gather(-1, last - 1) / last).clamp_min(0)


@given(rows(), st.floats(1e-6, 1e6))
def test_the_threshold_is_the_one_that_sorting_finds(u: Tensor, budget: float) -> None:
    budgets = torch.full((len(u),), budget, dtype=u.dtype)
    found, sorted_out = l1_threshold(u.abs(), budgets), by_sorting(u.abs(), budgets)
    assert torch.allclose(found, sorted_out, rtol=1e-9, atol=1e-9 * float(u.abs().max()))


@given(rows(), st.floats(1e-6, 1e6))
def test_a_row_does_not_depend_on_the_rows_around_it(u: Tensor, radius: float) -> None:
    radii = torch.full((len(u),), radius, dtype=u.dtype)
    alone = torch.cat([project_l1(u[i : i + 1], radii[i : i + 1]) for i in range(len(u))])
    assert torch.equal(project_l1(u, radii), alone)


def test_no_budget_leaves_the_largest_value_as_threshold_and_any_budget_enough_leaves_none() -> None:
    u = torch.tensor([[1.0, 3.0], [1.0, 3.0], [0.0, 0.0]])
    assert l1_threshold(u, torch.tensor([0.0, torch.inf, 0.0]))[:, 0].tolist() == [3, 0, 0]


@given(rows(), st.floats(1e-3, 1e3), st.integers(0, 1000))
def test_a_weighted_threshold_spends_the_budget(u: Tensor, budget: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = 10 ** (4 * torch.rand(u.shape, generator=generator, dtype=u.dtype) - 2)
    tau = l1_threshold(u.abs(), torch.full((len(u),), budget, dtype=u.dtype), weights)
    spent = (weights * (u.abs() - tau).clamp_min(0)).sum(-1)
    whole = (weights * u.abs()).sum(-1)
    assert torch.allclose(spent, whole.clamp_max(budget), rtol=1e-9, atol=1e-9 * float(whole.max()))
    assert (tau[:, 0] >= 0).all()
    assert (tau[whole <= budget] <= 1e-12 * u.abs().max()).all()
