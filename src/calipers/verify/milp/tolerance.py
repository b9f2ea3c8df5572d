"""What a solver's tolerances may hide: by how much its bound of a row may exceed the network's true minimum.

A solver takes points that break every condition by a tolerance t. Such a point is still near the network: its input is
within t of the set, its choices within t of integers, so the output of a maximum is off by at most what its input is
off, plus 2 t (1 + m), m being the largest sum of magnitudes behind it. These errors pass through affine layers with
their absolute weights. A bound by duality is off, too, by reduced costs of t times the ranges of all variables.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from calipers.bounds.rounding import row_error
from calipers.core.intervals import IntervalBounds
from calipers.core.problem import Specification
from calipers.core.sets import InputSet, LpBall
from calipers.graph import ops
from calipers.graph.graph import Graph
from calipers.graph.rounding import deployed
from calipers.solve.highs import DROPPED, TOLERANCE
from calipers.solve.program import Program

# The solver is asked for TOLERANCE and drops coefficients below 1e-12; CHARGED, a hundred times as much, is allowed
# for, because its presolve, its cuts and its scaling have tolerances of their own.
CHARGED = 100 * TOLERANCE
_ULPS = 64


@dataclass(frozen=True, eq=False)
class Scales:
    """How large things are. magnitude: of every node, (1, *shape), the sums of absolute terms behind its entries."""

    magnitude: Sequence[Tensor]

    @classmethod
    def of(cls, graph: Graph, input_set: InputSet) -> "Scales":
        """Those of a graph over one set."""
        box = input_set.box()
        values = [torch.maximum(box.lower.abs(), box.upper.abs())]
        for node in graph.nodes[1:]:
            values.append(_absolute(node.op).evaluate(*(values[i] for i in node.inputs)))
        return cls(values)

    def outwards(self, bounds: Sequence[IntervalBounds]) -> list[IntervalBounds]:
        """Bounds that allow for the rounding of the arithmetic that made them."""
        ulps = [_ULPS * torch.finfo(m.dtype).eps * m for m in self.magnitude]
        return [IntervalBounds(b.lower - ulp, b.upper + ulp) for b, ulp in zip(bounds, ulps, strict=True)]


def allowance(
    graph: Graph,
    input_set: InputSet,
    scales: Scales,
    bounds: Sequence[IntervalBounds],
    program: Program,
    specification: Specification,
) -> Float[Tensor, "1 rows"]:
    """By how much the solver's bound of each row may exceed what a deployed network computes. bounds: of every node."""
    largest = float(np.maximum(np.abs(program.lower), np.abs(program.upper)).sum())
    reach = float((program.upper - program.lower).sum())
    size = scales.magnitude
    unit = input_set.scale if isinstance(input_set, LpBall) else torch.zeros_like(size[0])
    errors = [_slip(size[0] + unit, largest)]
    for position, node in enumerate(graph.nodes[1:], start=1):
        error = _linear(node.op).evaluate(*(errors[i] for i in node.inputs))
        rounded = deployed(node.op, [bounds[i].size for i in node.inputs], bounds[position].size)
        if rounded is not None:
            error = error + rounded
        errors.append(error if isinstance(node.op, ops.Affine) else error + _slip(size[position], largest))
    C, d = specification.C.abs(), specification.d.abs()
    row_size = torch.einsum("brc,bc->br", C, size[-1]) + d
    own = row_error(specification.C, specification.d, bounds[-1])
    return torch.einsum("brc,bc->br", C, errors[-1]) + _slip(row_size, largest) + CHARGED * reach + own


def _slip(size: Tensor, largest: float) -> Tensor:
    """What one condition may be broken by, twice: it has two sides."""
    return 2 * (CHARGED * (1 + size) + DROPPED * largest)


def _absolute(op: ops.Op) -> ops.Op:
    """An operation that maps magnitudes to magnitudes."""
    if isinstance(op, ops.Affine):
        return ops.absolute(op)
    if isinstance(op, ops.MaxPool2d):
        return replace(op, floor=None if op.floor is None else abs(op.floor))
    return op


def _linear(op: ops.Op) -> ops.Op:
    """An operation that maps errors to errors."""
    if isinstance(op, ops.Affine):
        return ops.linear_part(ops.absolute(op))
    return replace(op, floor=None) if isinstance(op, ops.MaxPool2d) else op
