"""What every use of HiGHS has in common."""

import highspy
import numpy as np
from highspy import HighsVarType

from calipers.solve.program import Program

# Of feasibility, on both sides.
TOLERANCE = 1e-9
# Smaller entries of a matrix are left out.
DROPPED = 1e-12


def solver(options: dict[str, bool | float | str | int]) -> highspy.Highs:
    """A silent solver on one thread."""
    highs = highspy.Highs()
    # Not by "threads": HiGHS refuses another number than that of an earlier use in the same process.
    usual: dict[str, bool | float | str | int] = {"output_flag": False, "parallel": "off"}
    for name, value in {**usual, **options}.items():
        checked(highs.setOptionValue(name, value), name)
    return highs


def linear_model(program: Program, cost: np.ndarray, offset: float = 0.0) -> highspy.HighsLp:
    """The program with <cost, variables> + offset to minimise."""
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = len(cost), len(program.row_lower)
    model.col_cost_, model.offset_ = cost, offset
    model.col_lower_, model.col_upper_ = program.lower, program.upper
    model.row_lower_, model.row_upper_ = program.row_lower, program.row_upper
    if bool(program.integer.any()):
        model.integrality_ = [HighsVarType.kInteger if i else HighsVarType.kContinuous for i in program.integer]
    matrix = model.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kRowwise
    matrix.num_col_, matrix.num_row_ = model.num_col_, model.num_row_
    matrix.start_, matrix.index_, matrix.value_ = program.rows.indptr, program.rows.indices, program.rows.data
    return model


def checked(status: highspy.HighsStatus, what: str) -> None:
    """Raise ValueError for a refusal. Warnings are of tiny coefficients that were dropped (`DROPPED`)."""
    if status == highspy.HighsStatus.kError:
        raise ValueError(f"HiGHS refuses {what}")
