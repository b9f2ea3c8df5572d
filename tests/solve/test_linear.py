"""Programs by their optimality conditions, closed forms and another library."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.sparse import csr_array

from calipers.solve import Program, Solution, minimise_linear


def random_program(seed: int, variables: int = 6, rows: int = 5) -> tuple[Program, np.ndarray]:
    """A program with points (the origin is one), bounded, and a cost."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(rows, variables))
    sides = np.sort(random.uniform(-1, 1, (rows, 2)) + np.array([[-1.0, 1.0]]), axis=1)
    one_sided = random.random(rows) < 0.4
    lower = np.where(one_sided, -np.inf, sides[:, 0])
    whole = np.zeros(variables, dtype=bool)
    box = np.full(variables, 2.0)
    return Program(-box, box, whole, csr_array(matrix), lower, sides[:, 1]), random.normal(size=variables)


def kkt_residual(program: Program, found: Solution, gradient: np.ndarray) -> float:
    """How far from feasible, stationary and complementary a solution is."""
    rows = program.rows @ found.point
    outside = [program.lower - found.point, found.point - program.upper]
    outside += [program.row_lower - rows, rows - program.row_upper]
    stationary = np.abs(gradient - program.rows.T @ found.row_dual - found.column_dual).max()
    slack = [
        np.maximum(dual, 0) * (value - np.nan_to_num(low)) + np.minimum(dual, 0) * (value - np.nan_to_num(high))
        for dual, value, low, high in (
            (found.row_dual, rows, program.row_lower, program.row_upper),
            (found.column_dual, found.point, program.lower, program.upper),
        )
    ]
    return max(stationary, *(float(part.max(initial=0.0)) for part in (*outside, *slack)))


@given(st.integers(0, 10_000))
def test_a_linear_optimum_meets_the_conditions_and_another_solver(seed: int) -> None:
    program, cost = random_program(seed)
    found = minimise_linear(program, cost, 1.5)
    assert found is not None
    assert kkt_residual(program, found, cost) < 1e-6
    low = program.row_lower > -np.inf
    dense = program.rows.toarray()
    other = linprog(
        cost,
        A_ub=np.vstack([dense, -dense[low]]),
        b_ub=np.concatenate([program.row_upper, -program.row_lower[low]]),
        bounds=np.stack([program.lower, program.upper], 1),
    )
    assert found.objective == pytest.approx(other.fun + 1.5, abs=1e-7)


def test_no_point_and_no_end_have_no_optimum() -> None:
    one, endless = np.ones(1), np.full(1, np.inf)
    contradiction = Program(0 * one, one, one > 2, csr_array([[1.0]]), 2 * one, 3 * one)
    assert minimise_linear(contradiction, one) is None
    assert minimise_linear(Program(-endless, endless, one > 2, csr_array((0, 1)), one[:0], one[:0]), one) is None


def test_integers_are_refused() -> None:
    program, cost = random_program(0)
    integers = Program(program.lower, program.upper, cost > -9, program.rows, program.row_lower, program.row_upper)
    with pytest.raises(ValueError, match="6 variables are integers"):
        minimise_linear(integers, cost)
