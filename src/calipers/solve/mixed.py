"""The least value of a row over a mixed-integer linear program, or as much of it as is needed."""

from collections.abc import Callable
from dataclasses import dataclass

import highspy
import numpy as np
from highspy import HighsModelStatus

from calipers.core.results import Termination
from calipers.solve.highs import DROPPED, TOLERANCE, checked, linear_model, solver
from calipers.solve.program import Expression, Program, widen

_OPTIONS: dict[str, bool | float | str | int] = {
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
    highs = solver({**_OPTIONS, "time_limit": max(0.0, seconds)})
    cost = widen(row.matrix, len(program.lower)).toarray()[0]
    checked(highs.passModel(linear_model(program, cost, float(row.constant[0]))), "the program")
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
