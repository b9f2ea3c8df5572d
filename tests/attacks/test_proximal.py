"""Every operator against a minimiser of its own definition, mu f(z) + ||z - u||^2 / 2."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear, minimize
from torch import Tensor

from calipers.attacks.proximal import (
    ConvexCombination,
    HalfProx,
    L0Prox,
    L1Prox,
    L2Prox,
    LinfProx,
    MetricOperator,
    PixelLargest,
    PixelLength,
    ProximalOperator,
    TotalVariationProx,
    TwoThirdsProx,
)
from calipers.attacks.proximal.variation import adjoint, differences
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.norms import flat
from tests.values import tensors

WEIGHTS = st.one_of(st.sampled_from([0.0, 1e-30, 1e-6, 1.0, 1e6]), st.floats(0.01, 3))
SCALARS: dict[str, tuple[MetricOperator, Callable[[np.ndarray], np.ndarray]]] = {
    "l0": (L0Prox(), lambda z: (z != 0) * 1.0),
    "l1": (L1Prox(), np.abs),
}
SCALARS["l2/3"] = (TwoThirdsProx(), lambda z: np.abs(z) ** (2 / 3))
SCALARS["l1/2"] = (HalfProx(), lambda z: np.abs(z) ** 0.5)
COMBINATION = ConvexCombination((L1Prox(), LinfProx(), L2Prox()), (0.5, 0.3, 0.2), tolerance=1e-10)
CONVEX = [LinfProx(), L2Prox(), L1Prox(), PixelLength(L1Prox()), TotalVariationProx(tolerance=1e-12), COMBINATION]
ALL = [*CONVEX, L0Prox(), TwoThirdsProx(), HalfProx(), PixelLength(L0Prox()), PixelLargest(TwoThirdsProx())]


def name(operator: object) -> str:
    return repr(operator)[:40]


def objective(operator: ProximalOperator, z: Tensor, u: Tensor, mu: Tensor) -> Tensor:
    return mu * operator.value(z) + flat(z - u).square().sum(-1) / 2


def weights(mu: float, u: Tensor) -> Tensor:
    return torch.full((len(u),), mu, dtype=u.dtype)


def lowest(phi, u: float, mu: float) -> float:
    """min_z mu phi(z) + (z - u)^2 / 2 by brute force: the minimiser lies between 0 and u."""
    coarse = np.linspace(0, u, 2001)
    values = mu * phi(coarse) + (coarse - u) ** 2 / 2
    best = int(values.argmin())
    fine = np.linspace(coarse[max(best - 1, 0)], coarse[min(best + 1, 2000)], 2001)
    return min(values.min(), (mu * phi(fine) + (fine - u) ** 2 / 2).min())


@pytest.mark.parametrize("kind", SCALARS)
@settings(deadline=None)
@given(u=tensors(1, 3), mu=WEIGHTS)
def test_sums_over_values_are_minimised_value_by_value(kind: str, u: Tensor, mu: float) -> None:
    operator, phi = SCALARS[kind]
    z = operator(u, weights(mu, u))
    reached = float(objective(operator, z, u, weights(mu, u)))
    best = sum(lowest(phi, value, mu) for value in u[0].tolist())
    assert reached <= best + 1e-9 * (best + 1e-6)
    assert (z * u >= 0).all()
    assert (z.abs() <= u.abs()).all()


@pytest.mark.parametrize("operator", CONVEX, ids=name)
@settings(deadline=None, max_examples=30)
@given(u=tensors(2, 2, 2, 3), mu=WEIGHTS, seed=st.integers(0, 1000))
def test_no_point_nearby_is_better(operator: ProximalOperator, u: Tensor, mu: float, seed: int) -> None:
    """For a convex objective a local minimiser is a minimiser."""
    z, mus = operator(u, weights(mu, u)), weights(mu, u)
    reached = objective(operator, z, u, mus)
    noise = torch.randn(12, *u.shape, dtype=u.dtype, generator=torch.Generator().manual_seed(seed))
    for step in (1e-4, 1e-2, 1.0):
        for direction in [*noise, u - z, -z, torch.ones_like(u), -torch.ones_like(u)]:
            other = objective(operator, z + step * direction, u, mus)
            assert (reached <= other + 1e-8 * (1 + mu) * (1 + other)).all()


def test_a_combination_that_is_only_just_zero_is_zero() -> None:
    """u = 0.5 s + 0.3 e + 0.2 e, of the dual balls of l1, linf and l2: on the edge of what the operator takes to 0."""
    u = torch.tensor([[1.0, 0.5, -0.5, 0.5]], dtype=torch.float64)
    assert COMBINATION(u, torch.ones(1, dtype=torch.float64)).tolist() == [[0.0] * 4]
    assert bool((COMBINATION(1.1 * u, torch.ones(1, dtype=torch.float64)) != 0).any())


@settings(deadline=None, max_examples=15)
@given(u=tensors(1, 2, 2), mu=st.floats(0.01, 2), operator=st.sampled_from([LinfProx(), L2Prox(), COMBINATION]))
def test_norms_agree_with_a_solver_of_the_smooth_programme(u: Tensor, mu: float, operator: ProximalOperator) -> None:
    """min mu (a sum t + b s + c q) + ||z - u||^2 / 2 with |z_i| <= t_i, |z_i| <= s and ||z|| <= q."""
    a, b, c = {LinfProx: (0, 1, 0), L2Prox: (0, 0, 1), ConvexCombination: (0.5, 0.3, 0.2)}[type(operator)]
    target, z = flat(u)[0].numpy(), slice(0, 4)

    def cost(v: np.ndarray) -> float:
        return mu * (a * v[4:8].sum() + b * v[8] + c * v[9]) + ((v[z] - target) ** 2).sum() / 2

    constraints = [
        {"type": "ineq", "fun": lambda v: np.concatenate([v[4:8] - v[z], v[4:8] + v[z]])},
        {"type": "ineq", "fun": lambda v: np.concatenate([v[8] - v[z], v[8] + v[z], v[9:]])},
        {"type": "ineq", "fun": lambda v: v[9] ** 2 - (v[z] ** 2).sum()},
    ]
    size = np.abs(target)
    start = np.concatenate([target, size + 0.1, [size.max() + 0.1, size.sum() + 0.1]])
    solved = minimize(cost, start, constraints=constraints, method="SLSQP", options={"maxiter": 300, "ftol": 1e-12})
    # Where the solver gives up it breaks its constraints: what counts is its z, with the norms themselves.
    size = np.abs(solved.x[z])
    best = mu * (a * size.sum() + b * size.max() + c * (size**2).sum() ** 0.5) + ((solved.x[z] - target) ** 2).sum() / 2
    found = operator(u, weights(mu, u))
    assert float(objective(operator, found, u, weights(mu, u))) <= best + 1e-5 * (1 + best)


@settings(deadline=None, max_examples=30)
@given(u=tensors(1, 2, 2, 3), mu=WEIGHTS)
def test_total_variation_agrees_with_bounded_least_squares(u: Tensor, mu: float) -> None:
    """Its dual is min ||u - D^T q||^2 with |q| <= mu."""
    parts = [torch.zeros_like(part) for part in differences(u)]
    columns = []
    for part in parts:
        for i in range(part.numel()):
            part.view(-1)[i] = 1
            columns.append(adjoint(parts, u).flatten().numpy().copy())
            part.view(-1)[i] = 0
    matrix = np.stack(columns, 1)
    limit = min(mu, 1e5) + 1e-12
    solved = lsq_linear(matrix, flat(u)[0].numpy(), (-limit, limit), tol=1e-12, method="bvls")
    oracle = u - torch.tensor(matrix @ solved.x).reshape(u.shape)
    found = TotalVariationProx(tolerance=1e-12, iterations=5000)(u, weights(mu, u))
    assert torch.allclose(found, oracle, atol=1e-4 * (1 + float(u.abs().max())))


def metric(u: Tensor, seed: int) -> Tensor:
    return 10 ** (3 * torch.rand(u.shape, dtype=u.dtype, generator=torch.Generator().manual_seed(seed)) - 1.5)


@pytest.mark.parametrize("kind", SCALARS)
@settings(deadline=None)
@given(u=tensors(1, 3), mu=WEIGHTS, seed=st.integers(0, 1000))
def test_in_a_metric_every_value_has_its_own_weight(kind: str, u: Tensor, mu: float, seed: int) -> None:
    operator, phi = SCALARS[kind]
    psi = metric(u, seed)
    z = operator.in_metric(u, weights(mu, u), psi)
    reached = float(mu * operator.value(z) + (psi * (z - u) ** 2 / 2).sum())
    best = sum(p * lowest(phi, value, mu / p) for value, p in zip(u[0].tolist(), psi[0].tolist(), strict=True))
    assert reached <= best + 1e-9 * (best + 1e-6)


@pytest.mark.parametrize("operator", [LinfProx(), L2Prox(), L1Prox()], ids=name)
@settings(deadline=None, max_examples=50)
@given(u=tensors(2, 2, 3), mu=WEIGHTS, seed=st.integers(0, 1000))
def test_in_a_metric_no_point_nearby_is_better(operator: MetricOperator, u: Tensor, mu: float, seed: int) -> None:
    psi, mus = metric(u, seed), weights(mu, u)
    z = operator.in_metric(u, mus, psi)

    def cost(point: Tensor) -> Tensor:
        return mus * operator.value(point) + flat(psi * (point - u).square()).sum(-1) / 2

    noise = torch.randn(12, *u.shape, dtype=u.dtype, generator=torch.Generator().manual_seed(seed + 1))
    for step in (1e-4, 1e-2, 1.0):
        for direction in [*noise, u - z, -z]:
            other = cost(z + step * direction)
            assert (cost(z) <= other + 1e-8 * (1 + mu) * (1 + other)).all()


@pytest.mark.parametrize(
    "operator", [*CONVEX[:3], L0Prox(), TwoThirdsProx(), HalfProx(), PixelLargest(L0Prox())], ids=name
)
def test_in_the_euclidean_metric_it_is_the_operator_itself(operator: MetricOperator) -> None:
    u = torch.randn(3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mu = torch.tensor([0.05, 0.3, 1.0], dtype=torch.float64)
    for factor in (1.0, 5.0):
        found = operator.in_metric(u, factor * mu, torch.full_like(u, factor))
        assert torch.allclose(found, operator(u, mu), atol=1e-12)


@settings(deadline=None)
@given(u=tensors(1, 3, 1, 2), mu=st.floats(0.01, 3), kind=st.sampled_from(["l0", "l1", "l2/3"]))
def test_operators_of_the_length_of_pixels(u: Tensor, mu: float, kind: str) -> None:
    scalar, phi = SCALARS[kind]
    operator = PixelLength(scalar)
    reached = float(objective(operator, operator(u, weights(mu, u)), u, weights(mu, u)))
    best = sum(lowest(phi, float(length), mu) for length in u.norm(dim=1).flatten())
    assert reached <= best * (1 + 1e-9) + 1e-12


@given(u=tensors(2, 3, 1, 2), mu=st.floats(0.01, 3))
def test_the_number_of_changed_pixels_is_minimised_exactly(u: Tensor, mu: float) -> None:
    """Brute force over all sets of pixels that stay."""
    operator = PixelLength(L0Prox())
    z = operator(u, weights(mu, u))
    assert torch.equal(operator.value(z), Distance.L0_PIXELS(z))
    masks = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])[:, None, None, None, :]
    costs = torch.stack([objective(operator, u * mask[0], u, weights(mu, u)) for mask in masks])
    reached = objective(operator, z, u, weights(mu, u))
    assert torch.allclose(reached, costs.amin(0), rtol=1e-9, atol=1e-12)


@given(u=tensors(1, 3, 1, 2), mu=st.floats(0.01, 3), kind=st.sampled_from(["l0", "l2/3"]))
def test_the_thesiss_group_operator_moves_the_largest_channel_and_drops_whole_pixels(u, mu, kind) -> None:
    scalar, _ = SCALARS[kind]
    z = PixelLargest(scalar)(u, weights(mu, u))
    for before, after in zip(u[0].flatten(1).T, z[0].flatten(1).T, strict=True):
        largest = int(before.abs().argmax())
        moved = scalar(before[largest][None, None], torch.tensor([mu], dtype=u.dtype))[0, 0]
        expected = before.clone()
        expected[largest] = moved
        assert torch.equal(after, expected if moved != 0 else torch.zeros(3, dtype=u.dtype))


def test_one_channel_and_plain_features_are_the_scalar_operator() -> None:
    u = torch.randn(2, 1, 3, 3, dtype=torch.float64)
    for scalar in (L0Prox(), TwoThirdsProx()):
        for group in (PixelLength(scalar), PixelLargest(scalar)):
            assert torch.allclose(group(u, weights(0.1, u)), scalar(u, weights(0.1, u)))
            assert torch.allclose(group(flat(u), weights(0.1, u)), scalar(flat(u), weights(0.1, u)))


@pytest.mark.parametrize("operator", ALL, ids=name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_weight_of_nothing_moves_nothing_and_a_huge_one_everything(operator, dtype) -> None:
    u = torch.randn(3, 2, 4, 4, dtype=dtype)
    u[0] = 0
    if isinstance(operator, ConvexCombination):
        operator = replace(operator, tolerance=1e-5)  # single precision has no more
    assert torch.allclose(operator(u, weights(0.0, u)), u, atol=1e-6)
    assert torch.allclose(operator(u, weights(1e-30, u)), u, atol=1e-6)
    mean = u.mean((2, 3), keepdim=True).expand_as(u)
    for huge in (1e4, 1e30):
        rest = mean if isinstance(operator, TotalVariationProx) else torch.zeros_like(u)
        assert torch.allclose(operator(u, weights(huge, u)), rest, atol=1e-4)


@pytest.mark.parametrize("operator", ALL, ids=name)
def test_a_sample_does_not_depend_on_the_batch_around_it(operator: ProximalOperator) -> None:
    u = torch.randn(5, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2
    u[1] *= 1e-3
    u[2] = 0
    mu = torch.tensor([0.1, 1.0, 1.0, 0.0, 30.0], dtype=torch.float64)
    alone = torch.cat([operator(u[i : i + 1], mu[i : i + 1]) for i in range(5)])
    assert torch.allclose(operator(u, mu), alone, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("power", [2 / 3, 1 / 2])
def test_closed_forms_keep_single_precision(power: float) -> None:
    """At the optimum z - u + mu q z^(q-1) = 0."""
    operator = TwoThirdsProx() if power == 2 / 3 else HalfProx()
    u = torch.logspace(-3, 6, 200)[None]
    for mu in (1e-6, 1e-2, 1.0):
        z = operator(u, torch.tensor([mu]))
        kept = z > 0
        rest = (z - u).double() + mu * power * z.double() ** (power - 1)
        assert kept.any()
        assert (rest.abs() <= 4e-6 * u)[kept].all()


def test_elastic_combinations_have_a_closed_form() -> None:
    """The operator of a l1 + b l2 is that of b l2 after that of a l1."""
    u = torch.randn(4, 3, 5, dtype=torch.float64)
    both = ConvexCombination((L1Prox(), L2Prox()), (0.4, 0.6), tolerance=1e-12)
    mu = torch.tensor([0.1, 0.5, 1.0, 5.0], dtype=torch.float64)
    assert torch.allclose(both(u, mu), L2Prox()(L1Prox()(u, 0.4 * mu), 0.6 * mu), atol=1e-9)


def test_the_largest_values_are_levelled() -> None:
    u = torch.tensor([[3.0, -2.5, 1.0, 2.5]])
    assert LinfProx()(u, torch.tensor([1.5])).tolist() == [pytest.approx([2.1666667, -2.1666667, 1.0, 2.1666667])]


def test_what_has_no_operator_here_is_refused() -> None:
    with pytest.raises(InputError, match="L0Prox is not convex"):
        ConvexCombination((L1Prox(), L0Prox()), (0.5, 0.5))
    with pytest.raises(InputError, match="sum 1"):
        ConvexCombination((L1Prox(),), (0.5,))
    with pytest.raises(InputError, match="2 functions and 1 weights"):
        ConvexCombination((L1Prox(), L2Prox()), (1.0,))
    with pytest.raises(InputError, match=r"shape \(4,\)"):
        TotalVariationProx()(torch.zeros(1, 4), torch.ones(1))


def test_variation_counts_differences_along_both_axes_of_every_channel() -> None:
    image = torch.tensor([[[[0.0, 1.0], [3.0, 3.0]], [[1.0, 1.0], [1.0, 1.0]]]])
    assert TotalVariationProx().value(image).tolist() == [1 + 3 + 2]
    assert math.isclose(float(TotalVariationProx().value(torch.tensor([[[1.0, -1.0, 2.0]]]))[0]), 5)
