"""Convex quadratic programs."""

import highspy
import numpy as np
from highspy import HighsModelStatus
from scipy.sparse import csc_array, tril

from calipers.solve.highs import checked, linear_model, solver
from calipers.solve.linear import Solution, require_continuous, solution_of
from calipers.solve.program import Program


def minimise_quadratic(program: Program, hessian: csc_array, cost: np.ndarray) -> Solution | None:
    """Minimise x' hessian x / 2 + <cost, x>; None where there is no optimum: no point, or no end.

    hessian: (variables, variables), symmetric and positive semidefinite. HiGHS' active-set method: stationarity and
    feasibility hold to about 1e-7 of the numbers' size. Raises ValueError for a matrix of another size or one that is
    not symmetric, for one that HiGHS finds not convex, and for integers.
    """
    require_continuous(program)
    count = len(program.lower)
    if hessian.shape != (count, count):
        raise ValueError(f"hessian of shape {hessian.shape} for {count} variables; accepted: ({count}, {count})")
    skew = abs(hessian - hessian.T)
    if skew.nnz and skew.max() > 1e-9 * abs(hessian).max():
        raise ValueError(f"hessian: differs from its transpose by {skew.max():g}; accepted: symmetric ones")
    highs = solver({})
    model = highspy.HighsModel()
    model.lp_ = linear_model(program, cost)
    lower = csc_array(tril(hessian, format="csc"))
    model.hessian_.dim_ = count
    model.hessian_.format_ = highspy.HessianFormat.kTriangular
    model.hessian_.start_, model.hessian_.index_ = lower.indptr, lower.indices
    model.hessian_.value_ = lower.data
    checked(highs.passModel(model), "the quadratic program (is it convex?)")
    checked(highs.run(), "the quadratic program (is it convex?)")
    if highs.getModelStatus() != HighsModelStatus.kOptimal:
        return None
    return solution_of(highs)
