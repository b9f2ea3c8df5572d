import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from calipers.core.errors import InputError
from calipers.repairs.metric import Metric
from calipers.repairs.quadratic import Clash, Optimum, least_change
from calipers.repairs.rows import Rows, no_rows


def _random(seed: int, count: int, outputs: int = 4, inputs: int = 6) -> tuple[Rows, Metric]:
    rng = np.random.default_rng(seed)
    left, right = rng.normal(size=(count, outputs)), rng.normal(size=(count, inputs))
    rows = Rows(left, right, rng.normal(size=count), np.arange(count))
    return rows, Metric.of(rng.normal(size=(30, inputs)), 0.1)


def _matrix(rows: Rows) -> np.ndarray:
    return np.einsum("ro,ri->roi", rows.left, rows.right).reshape(len(rows), -1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_it_is_the_optimum_by_its_conditions(seed: int, count: int) -> None:
    """Feasible, with multipliers >= 0 on rows that are attained, and no gap to the dual."""
    rows, metric = _random(seed, count)
    found = least_change(rows, metric)
    assert isinstance(found, Optimum)
    scale = 1 + np.abs(rows.least).max() + metric.size(found.change)
    assert rows.missing(found.change).max() <= 1e-7 * scale
    assert (found.multiplier >= 0).all()
    assert np.abs(rows.missing(found.change)[found.active]).max(initial=0.0) <= 1e-7 * scale
    assert metric.size(found.change) == pytest.approx(
        float(rows.least[found.active] @ found.multiplier), abs=1e-6 * scale
    )


def test_it_equals_least_distance_programming_by_nonnegative_least_squares() -> None:
    """Lawson & Hanson 1974, chapter 23: another algorithm for the same programme."""
    rows, metric = _random(5, 12)
    matrix = _matrix(Rows(rows.left, metric.whitened(rows.right), rows.least, rows.sample))
    stacked = np.vstack([matrix.T, rows.least[None]])
    goal = np.append(np.zeros(matrix.shape[1]), 1.0)
    residual = stacked @ nnls(stacked, goal)[0] - goal
    expected = metric.unwhitened((-residual[:-1] / residual[-1]).reshape(4, 6))
    found = least_change(rows, metric)
    assert isinstance(found, Optimum)
    np.testing.assert_allclose(found.change, expected, atol=1e-8)


def test_rows_that_are_added_need_few_steps_and_end_at_the_same_optimum() -> None:
    rows, metric = _random(7, 20)
    first = least_change(rows[np.arange(15)], metric)
    assert isinstance(first, Optimum)
    again, fresh = least_change(rows, metric, first), least_change(rows, metric)
    assert isinstance(again, Optimum)
    assert isinstance(fresh, Optimum)
    np.testing.assert_allclose(again.change, fresh.change, atol=1e-8)
    assert again.steps < fresh.steps


@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
def test_rows_that_clash_are_named_irreducibly(seed: int, count: int) -> None:
    """A hidden positive combination of rows is 0 while it asks for more than 0; without one of them all is possible."""
    rng = np.random.default_rng(seed)
    right = rng.normal(size=(1, 9))
    left = rng.normal(size=(count - 1, 9))
    weight = rng.random(count - 1) + 0.1
    left = np.vstack([left, -(weight @ left)[None]])
    least = rng.normal(size=count)
    least[-1] = 1 - weight @ least[:-1]
    rows = Rows(left, np.repeat(right, count, 0), least, np.arange(count))
    metric = Metric(np.eye(9))
    clash = least_change(rows, metric)
    assert isinstance(clash, Clash)
    assert sorted(clash.rows.tolist()) == list(range(count))
    np.testing.assert_allclose(clash.weight @ _matrix(rows)[clash.rows], 0, atol=1e-6)
    assert clash.weight @ rows.least[clash.rows] > 0
    for left_out in range(count):
        assert isinstance(least_change(rows[np.arange(count) != left_out], metric), Optimum)


def test_the_same_row_twice_is_no_clash() -> None:
    rows, metric = _random(3, 4)
    twice, once = least_change(rows.joined(rows), metric), least_change(rows, metric)
    assert isinstance(twice, Optimum)
    assert isinstance(once, Optimum)
    np.testing.assert_allclose(twice.change, once.change, atol=1e-9)


def test_a_row_of_zeros_that_asks_for_something_clashes_alone() -> None:
    rows = Rows(np.zeros((1, 2)), np.ones((1, 3)), np.ones(1), np.zeros(1, dtype=np.int64))
    clash = least_change(rows, Metric(np.eye(3)))
    assert isinstance(clash, Clash)
    assert clash.rows.tolist() == [0]


def test_nothing_to_reach_changes_nothing() -> None:
    found = least_change(no_rows(3, 5), Metric(np.eye(5)))
    assert isinstance(found, Optimum)
    assert not found.change.any()


def test_the_size_in_the_metric_is_the_mean_square_of_what_the_outputs_change_by() -> None:
    rng = np.random.default_rng(0)
    features, change = rng.normal(size=(50, 5)), rng.normal(size=(3, 5))
    metric = Metric.of(features, 1e-12)
    assert metric.size(change) == pytest.approx(np.square(features @ change.T).sum(1).mean(), rel=1e-9)
    assert Metric.of(features, np.inf).size(change) == pytest.approx(np.square(change).sum())


@pytest.mark.parametrize("ridge", [0.0, -1.0, float("nan")])
def test_a_ridge_that_is_not_positive_is_refused(ridge: float) -> None:
    with pytest.raises(InputError, match="ridge"):
        Metric.of(np.ones((2, 2)), ridge)


def test_features_that_are_all_zero_have_no_metric() -> None:
    with pytest.raises(InputError, match="mean square of 0"):
        Metric.of(np.zeros((4, 3)))
