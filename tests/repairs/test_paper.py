import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calipers.core.errors import InputError
from calipers.core.tracker import Silent
from calipers.repairs.paper import by_columns, fitted_change, idle_warning, of_one_sample


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 5.0))
def test_one_sample_has_a_closed_form(seed: int, price: float) -> None:
    rng = np.random.default_rng(seed)
    feature, lacking = rng.normal(size=7), float(rng.normal())
    _, cost = of_one_sample(feature, lacking, price)
    _, expected = by_columns(feature[None], np.array([lacking]), price, Silent())
    assert cost == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_with_price_1_and_features_up_to_1_it_does_nothing_and_says_so() -> None:
    rng = np.random.default_rng(0)
    features, weight = rng.random((1, 20)), rng.normal(size=(3, 20))
    wanted = features @ weight.T + 1.0
    found = fitted_change(weight, features, wanted)
    assert not found.change.any()
    said = idle_warning(features, 1.0, found.change)
    assert said is not None
    assert "changed nothing" in said.message
    dearer = fitted_change(weight, features, wanted, price=10.0)
    assert dearer.delta.max() < 1e-7
    assert idle_warning(features, 10.0, dearer.change) is None


def test_only_selected_features_change() -> None:
    rng = np.random.default_rng(1)
    features, weight = rng.normal(size=(4, 12)) * 3, rng.normal(size=(2, 12))
    selected = np.arange(12) % 3 == 0
    found = fitted_change(weight, features, rng.normal(size=(4, 2)), 2.0, selected)
    assert found.change[:, selected].any()
    assert not found.change[:, ~selected].any()
    paid = np.abs(found.change).sum() + 2.0 * found.delta.sum()
    assert paid == pytest.approx(found.objective, rel=1e-6)


def test_it_equals_the_joint_programme_of_a_generic_solver() -> None:
    cvxpy = pytest.importorskip("cvxpy")
    rng = np.random.default_rng(2)
    features, weight, wanted = rng.normal(size=(5, 15)), rng.normal(size=(3, 15)), rng.normal(size=(5, 3))
    change, delta = cvxpy.Variable((3, 15)), cvxpy.Variable((5, 3), nonneg=True)
    fits = cvxpy.abs(features @ (weight + change).T - wanted) <= delta
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum(cvxpy.abs(change)) + 1.5 * cvxpy.sum(delta)), [fits])
    problem.solve(solver=cvxpy.CLARABEL)
    assert fitted_change(weight, features, wanted, 1.5).objective == pytest.approx(problem.value, rel=1e-6)


def test_bad_input() -> None:
    weight, features, wanted = np.ones((2, 3)), np.ones((1, 3)), np.ones((1, 2))
    with pytest.raises(InputError, match="price of a deviation is 0"):
        fitted_change(weight, features, wanted, 0.0)
    with pytest.raises(InputError, match="no feature was selected"):
        fitted_change(weight, features, wanted, 1.0, np.zeros(3, dtype=bool))
