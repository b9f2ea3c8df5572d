import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from calipers.core.errors import CalipersError
from calipers.solve import columns
from calipers.solve.columns import Dense, Goal, least_absolute


def _whole(matrix: np.ndarray, goal: Goal) -> float:
    """The optimum of the program with all columns."""
    rows = np.eye(len(matrix))
    cost = np.concatenate([np.ones(2 * matrix.shape[1]), goal.shortage, goal.surplus])
    return float(linprog(cost, A_eq=np.hstack([matrix, -matrix, rows, -rows]), b_eq=goal.wanted).fun)


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 500))
def test_it_is_the_optimum_of_the_program_with_all_columns(seed: int, rows: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, wanted = rng.normal(size=(rows, count)), rng.normal(size=rows)
    goal = Goal(wanted, rng.random(rows) * 3, rng.random(rows) * 3)
    found = least_absolute(Dense(matrix), goal)
    assert found.objective == pytest.approx(_whole(matrix, goal), rel=1e-6, abs=1e-9)
    reached = matrix[:, found.index] @ found.value
    surplus = reached + found.shortage - wanted
    assert surplus.min() >= -1e-7
    paid = np.abs(found.value).sum() + goal.shortage @ found.shortage + goal.surplus @ np.maximum(surplus, 0)
    assert paid == pytest.approx(found.objective, rel=1e-6, abs=1e-7)


def test_few_of_many_columns_enter() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(10, 20_000))
    goal = Goal(rng.normal(size=10), np.full(10, 5.0), np.full(10, 5.0))
    assert least_absolute(Dense(matrix), goal).entered < 3000


def test_where_nothing_gains_all_is_shortage() -> None:
    found = least_absolute(Dense(np.array([[0.5, 0.9]])), Goal(np.array([2.0]), np.ones(1), np.ones(1)))
    assert len(found.index) == 0
    assert found.objective == pytest.approx(2.0)


def test_an_end_without_an_optimum_names_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    real = columns.solver
    stopped: dict[str, bool | float | str | int] = {"simplex_iteration_limit": 0, "presolve": "off"}
    monkeypatch.setattr(columns, "solver", lambda options: real({**options, **stopped}))
    with pytest.raises(CalipersError, match="instead of an optimum"):
        least_absolute(Dense(np.ones((1, 1))), Goal(np.ones(1), np.ones(1), np.ones(1)))
