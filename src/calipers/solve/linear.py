"""Linear programs."""

from dataclasses import dataclass

import highspy
import numpy as np
from highspy import HighsModelStatus

from calipers.solve.highs import checked, linear_model, solver
from calipers.solve.program import Program


@dataclass(frozen=True, eq=False)
class Solution:
    """An optimum, up to the solver's tolerances.

    point: the variables. objective: there. row_dual, column_dual: by how much the objective rises per unit of a bound
    of a row or a variable that is attained: >= 0 at a lower one, <= 0 at an upper one, 0 elsewhere.
    """

    point: np.ndarray
    objective: float
    row_dual: np.ndarray
    column_dual: np.ndarray


def minimise_linear(program: Program, cost: np.ndarray, offset: float = 0.0) -> Solution | None:
    """Minimise <cost, variables> + offset; None where there is no optimum: no point, or no end.

    Raises ValueError for integers, which `minimise` takes, and for numbers that are not finite.
    """
    require_continuous(program)
    highs = solver({})
    checked(highs.passModel(linear_model(program, cost, offset)), "the linear program")
    highs.run()
    if highs.getModelStatus() != HighsModelStatus.kOptimal:
        return None
    return solution_of(highs)


def solution_of(highs: highspy.Highs) -> Solution:
    """The optimum that a solver has found."""
    found, value = highs.getSolution(), highs.getInfo().objective_function_value
    return Solution(np.array(found.col_value), value, np.array(found.row_dual), np.array(found.col_dual))


def require_continuous(program: Program) -> None:
    """Raise ValueError where some variable has to be an integer."""
    if bool(program.integer.any()):
        raise ValueError(f"{int(program.integer.sum())} variables are integers; accepted: none, or `solve.minimise`")
