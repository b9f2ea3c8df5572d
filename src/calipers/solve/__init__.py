"""Linear, quadratic and mixed-integer programs on HiGHS (Huangfu & Hall 2018), which knows nothing of networks.

Answers are numbers in floating point: what rests on one has to check it, or to charge for the tolerances.
"""

from calipers.solve.linear import Solution, minimise_linear
from calipers.solve.mixed import Minimum, minimise
from calipers.solve.program import Draft, Expression, Program
from calipers.solve.quadratic import minimise_quadratic

__all__ = [
    "Draft",
    "Expression",
    "Minimum",
    "Program",
    "Solution",
    "minimise",
    "minimise_linear",
    "minimise_quadratic",
]
