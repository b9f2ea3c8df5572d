"""HiGHS (Huangfu & Hall 2018): the least value of a row over a program, or as much of it as is needed."""

from collections.abc import Callable
from dataclasses import dataclass

import highspy
import numpy as np
from highspy import HighsModelStatus, HighsVarType

from calipers.core.results import Termination
from calipers.verify.milp.program import Expression, Program, widen
from calipers.verify.milp.tolerance import DROPPED, TOLERANCE

_OPTIONS: dict[str, bool | float | str] = {
    "output_flag": False,
    # Not by "threads": HiGHS refuses another number than that of an earlier use in the same process.
    "parallel": "off",
    "primal_feasibility_tolerance": TOLERANCE,
    "dual_feasibility_tolerance": TOLERANCE,
    "mip_feasibility_tolerance": TOLERANCE,
    "small_matrix_value": DROPPED,
    "mip_rel_gap": 0.0,
    "mip_abs_gap": TOLERANCE,
    # It looks at no clock, and takes long on large programs.
    "mip_heuristic_run_feasibility_jump": False,
}
_ENDINGS = {
    HighsModelStatus.kOptimal: Termination.COMPLETED,
    HighsModelStatus.kInterrupt: Termination.COMPLETED,
    HighsModelStatus.kTimeLimit: Termination.TIMEOUT,
}


@dataclass(frozen=True, eq=False)
class Minimum:
    """bound: the row is no less, up to the solver's tolerances. point: variables that were accepted, if any were.

    nodes: of the solver's tree.
    """

    bound: float
    point: np.ndarray | None
    nodes: int
    termination: Termination


def minimise(
    program: Program, row: Expression, enough: float, accept: Callable[[np.ndarray], bool], seconds: float
) -> Minimum:
    """Search until the bound exceeds `enough`, a point is accepted, all is known, or time is up.

    row: one entry. accept: is shown every better point. Anything that cannot be, such as a program without points,
    ends in Termination.ERROR with no bound.
    """
    if not len(program.lower):
        alone = np.zeros(0)
        return Minimum(float(row.constant[0]), alone if accept(alone) else None, 0, Termination.COMPLETED)
    highs = highspy.Highs()
    for name, value in {**_OPTIONS, "time_limit": max(0.0, seconds)}.items():
        _check(highs.setOptionValue(name, value), name)
    _check(highs.passModel(_model(program, row)), "the program")
    watch = _Watch(enough, accept)
    highs.cbMipInterrupt.subscribe(watch.decided)
    highs.cbMipImprovingSolution.subscribe(watch.improved)
    highs.run()
    status = highs.getModelStatus()
    ending = _ENDINGS.get(status, Termination.ERROR)
    info = highs.getInfo()
    optimal = status == HighsModelStatus.kOptimal
    if optimal and watch.point is None:
        watch.look(np.array(highs.getSolution().col_value))
    bound = -np.inf
    if ending is not Termination.ERROR and bool(program.integer.any()):
        bound = info.mip_dual_bound
    elif optimal:
        bound = info.objective_function_value
    return Minimum(bound, watch.point, max(0, info.mip_node_count), ending)


class _Watch:
    """Looks on while the solver runs, and stops it as soon as the row is decided."""

    def __init__(self, enough: float, accept: Callable[[np.ndarray], bool]) -> None:
        self._enough, self._accept = enough, accept
        self.point: np.ndarray | None = None

    def look(self, variables: np.ndarray) -> None:
        if self.point is None and self._accept(variables):
            self.point = variables

    def improved(self, event: highspy.highs.HighsCallbackEvent) -> None:
        self.look(np.array(event.data_out.mip_solution))

    def decided(self, event: highspy.highs.HighsCallbackEvent) -> None:
        event.interrupt(self.point is not None or event.data_out.mip_dual_bound > self._enough)


def _model(program: Program, row: Expression) -> highspy.HighsLp:
    cost = widen(row.matrix, len(program.lower)).toarray()[0]
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = len(cost), len(program.row_lower)
    model.col_cost_, model.offset_ = cost, float(row.constant[0])
    model.col_lower_, model.col_upper_ = program.lower, program.upper
    model.row_lower_, model.row_upper_ = program.row_lower, program.row_upper
    model.integrality_ = [HighsVarType.kInteger if i else HighsVarType.kContinuous for i in program.integer]
    matrix = model.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kRowwise
    matrix.num_col_, matrix.num_row_ = model.num_col_, model.num_row_
    matrix.start_, matrix.index_, matrix.value_ = program.rows.indptr, program.rows.indices, program.rows.data
    return model


def _check(status: highspy.HighsStatus, what: str) -> None:
    """Warnings are of tiny coefficients that were dropped, which the allowance covers."""
    if status == highspy.HighsStatus.kError:
        raise ValueError(f"HiGHS refuses {what}")
