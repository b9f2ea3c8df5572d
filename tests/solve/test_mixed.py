"""Programs of a few variables, whose answers are known."""

import highspy
import numpy as np
import pytest

from calipers.core.results import Termination
from calipers.solve.mixed import minimise
from calipers.solve.program import Draft, Expression


def knapsack() -> tuple[Draft, Expression]:
    """min -3 a - 4 b - 5 c over binaries with 2 a + 3 b + 4 c <= 6: a and c, -8."""
    draft = Draft()
    choice = draft.variables(np.zeros(3), np.ones(3), integer=True)
    draft.require(choice.row(np.array([2.0, 3.0, 4.0]), 0.0), -np.inf, 6.0)
    return draft, choice.row(np.array([-3.0, -4.0, -5.0]), 10.0)


def nothing(variables: np.ndarray) -> bool:
    return False


def test_the_bound_is_the_minimum_with_its_constant() -> None:
    draft, row = knapsack()
    shown: list[np.ndarray] = []

    def show(variables: np.ndarray) -> bool:
        shown.append(variables)
        return False

    found = minimise(draft.program(), row, np.inf, show, 10.0)
    assert found.bound == pytest.approx(2.0)
    assert found.termination is Termination.COMPLETED
    assert found.point is None
    assert min(float(row.at(v)[0]) for v in shown) == pytest.approx(2.0)


def test_it_stops_at_a_point_that_is_accepted() -> None:
    draft, row = knapsack()
    found = minimise(draft.program(), row, np.inf, lambda v: float(row.at(v)[0]) < 5, 10.0)
    assert found.point is not None
    assert float(row.at(found.point)[0]) < 5
    assert found.bound <= 2.0 + 1e-6


def test_without_integers_it_is_a_linear_program() -> None:
    draft = Draft()
    x = draft.variables(np.array([-1.0, 0.0]), np.array([2.0, 3.0]))
    draft.require(x.row(np.array([1.0, 1.0]), 0.0), 1.0, np.inf)
    found = minimise(draft.program(), x.row(np.array([2.0, 1.0]), 0.5), np.inf, nothing, 10.0)
    assert found.bound == pytest.approx(0.5)  # at (-1, 2)


def test_without_variables_it_is_the_constant() -> None:
    found = minimise(Draft().program(), Expression.fixed(np.array([0.25])), np.inf, lambda v: True, 10.0)
    assert found.bound == 0.25
    assert found.point is not None


def test_a_contradiction_proves_nothing() -> None:
    draft, row = knapsack()
    draft.require(row, -np.inf, 1.0)
    found = minimise(draft.program(), row, 0.0, nothing, 10.0)
    assert found.termination is Termination.ERROR
    assert found.bound == -np.inf


def test_another_use_of_the_solver_does_not_disturb_it() -> None:
    draft, row = knapsack()
    other = highspy.Highs()
    other.setOptionValue("output_flag", False)
    other.setOptionValue("threads", 2)
    other.addVars(2, np.zeros(2), np.ones(2))
    other.addRow(0.5, 1.0, 2, np.arange(2), np.ones(2))
    other.run()
    assert minimise(draft.program(), row, np.inf, nothing, 10.0).bound == pytest.approx(2.0)


def test_an_interruption_while_it_runs_gets_through() -> None:
    def stop(variables: np.ndarray) -> bool:
        raise KeyboardInterrupt

    draft, row = knapsack()
    with pytest.raises(KeyboardInterrupt):
        minimise(draft.program(), row, np.inf, stop, 10.0)
