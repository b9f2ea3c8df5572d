"""Linear and mixed-integer programs on HiGHS (Huangfu & Hall 2018), which knows nothing of networks.

Answers are numbers in floating point: what rests on one has to check it, or to charge for the tolerances. Its method
for quadratic programs is not offered: of 3,000 random convex ones with 6 variables it refused two and ended two at
points that are no optimum.
"""

from calipers.solve.linear import Solution, minimise_linear
from calipers.solve.mixed import Minimum, minimise
from calipers.solve.program import Draft, Expression, Program

__all__ = [
    "Draft",
    "Expression",
    "Minimum",
    "Program",
    "Solution",
    "minimise",
    "minimise_linear",
]
