import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from calipers.core.errors import InputError
from calipers.core.tracker import Silent
from calipers.repairs.metric import Metric
from calipers.repairs.quadratic import Clash, Optimum, least_change
from calipers.repairs.rows import Rows
from calipers.repairs.sparse import Elastic, LeastAbsolute


def _random(seed: int, count: int = 12) -> Rows:
    rng = np.random.default_rng(seed)
    left, right = rng.normal(size=(count, 4)), rng.normal(size=(count, 6))
    return Rows(left, right, rng.normal(size=count), np.arange(count))


def _matrix(rows: Rows) -> np.ndarray:
    return np.einsum("ro,ri->roi", rows.left, rows.right).reshape(len(rows), -1)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_l1_is_the_optimum_of_the_whole_program(seed: int) -> None:
    rows = _random(seed)
    found = LeastAbsolute().least_change(rows, None, Silent())
    assert isinstance(found, Optimum)
    matrix = _matrix(rows)
    expected = linprog(np.ones(48), A_ub=-np.hstack([matrix, -matrix]), b_ub=-rows.least).fun
    assert np.abs(found.change).sum() == pytest.approx(expected, rel=1e-6, abs=1e-8)
    assert rows.missing(found.change).max() <= 1e-6


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.9))
@settings(max_examples=30)
def test_elastic_is_feasible_and_has_no_gap_to_its_dual(seed: int, share: float) -> None:
    rows = _random(seed, 8)
    found = Elastic(share).least_change(rows, None, Silent())
    assert isinstance(found, Optimum)
    assert rows.missing(found.change).max() <= 1e-4 * np.abs(rows.least).max()
    primal = share * np.abs(found.change).sum() + (1 - share) / 2 * np.square(found.change).sum()
    pulled = np.abs(found.multiplier @ _matrix(rows)[found.active])
    dual = rows.least[found.active] @ found.multiplier
    dual -= np.square(np.maximum(pulled - share, 0)).sum() / (2 * (1 - share))
    assert primal == pytest.approx(dual, rel=1e-3, abs=1e-6)


def test_elastic_without_l1_is_the_least_squares_change() -> None:
    rows = _random(3)
    expected = least_change(rows, Metric(np.eye(6)))
    found = Elastic(0.0).least_change(rows, None, Silent())
    assert isinstance(expected, Optimum)
    assert isinstance(found, Optimum)
    np.testing.assert_allclose(found.change, expected.change, atol=1e-3)


def test_l1_changes_fewer_weights() -> None:
    rows = _random(5)
    sparse, dense = LeastAbsolute().least_change(rows, None, Silent()), least_change(rows, Metric(np.eye(6)))
    assert isinstance(sparse, Optimum)
    assert isinstance(dense, Optimum)
    assert (sparse.change != 0).sum() <= len(rows) < (dense.change != 0).sum()


@pytest.mark.parametrize("objective", [LeastAbsolute(), Elastic()])
def test_rows_that_clash_are_named(objective: LeastAbsolute | Elastic) -> None:
    rows = Rows(np.array([[1.0, -1], [-1, 1]]), np.ones((2, 3)), np.ones(2), np.array([4, 9]))
    clash = objective.least_change(rows, None, Silent())
    assert isinstance(clash, Clash)
    assert sorted(clash.rows.tolist()) == [0, 1]


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="share of l1"):
        Elastic(share)
