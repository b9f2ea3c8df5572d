"""The one maker of allowances for rounding, so that a positive bound is a proof for every evaluation of a network.

Two kinds of errors are charged wherever they are made: what a deployed network may round, in single precision and in
any order (`graph.rounding`), and what the bounds' own computation may round, in the precision of their tensors.
docs/bounds.md has the claim and its proof. Intervals are widened; planes around a nonlinearity are moved apart by what
their slopes make of the noise of its input; functionals pay for the noise of the node they start at, and at the input.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.bounds.relaxations.window import views
from calipers.core.intervals import IntervalBounds
from calipers.core.norms import per_sample
from calipers.core.problem import Specification
from calipers.core.sets import InputSet, LpBall
from calipers.graph import ops
from calipers.graph.graph import Graph
from calipers.graph.rounding import FUDGE, deployed, gamma, magnitude, tail_error, unit_of

# Longer sums over a value's entries are cut into pieces and the pieces added up: a term is rounded less often.
PIECE = 256
# What a term goes through beside its sum: a few products, and the sums of planes and of parts of a bound.
_BESIDE = 16
# Roundings of a plane's slopes and offset per candidate: divisions, products and sums of the formulas.
_PLANE = 8
# Roundings of the ends of a ball's box, and of the radius that a person wrote in decimals.
_ENDS = 4


def input_bounds(input_set: InputSet) -> IntervalBounds:
    """The box around each input set. The ends of a box are meant as they are; those of a ball have been rounded."""
    box = input_set.box()
    if not isinstance(input_set, LpBall):
        return IntervalBounds(box.lower, box.upper)
    reach = (per_sample(input_set.radius, input_set.center) * input_set.scale).expand_as(input_set.center)
    slip = _ENDS * unit_of(reach.dtype) * (input_set.center.abs() + reach) * (reach > 0)
    lower, upper = box.lower - slip, box.upper + slip
    if input_set.domain is not None:
        lower, upper = lower.clamp(min=input_set.domain[0]), upper.clamp(max=input_set.domain[1])
    return IntervalBounds(lower, upper)


def widened(op: ops.Op, given: Sequence[IntervalBounds], found: IntervalBounds) -> IntervalBounds:
    """The interval of an operation, computed from those given, with room for all evaluations and for its own.

    What is no number becomes infinite: nothing is known there.
    """
    size = found.size
    error = deployed(op, [b.size for b in given], size)
    if isinstance(op, ops.Weighted | ops.Add) and not isinstance(op, ops.ExactRows):
        # The middle, the radius and both sums.
        own = gamma(2 * ops.terms(op) + _BESIDE, unit_of(size.dtype)) * magnitude(op, [b.size for b in given])
        error = own if error is None else error + own
        if isinstance(op, ops.Linear):
            # Rounding keeps the order of numbers: copies lie between the copies of the ends.
            error = error.masked_fill(op.copies(given[0].size), 0.0)
    elif isinstance(op, ops.Sigmoid | ops.Tanh | ops.Softplus | ops.LeakyRelu):
        own = _PLANE * unit_of(size.dtype) * (1 + size)
        error = own if error is None else error + own
    if error is None:
        return found
    lower, upper = found.lower - error, found.upper + error
    return IntervalBounds(lower.nan_to_num(-torch.inf, torch.inf), upper.nan_to_num(torch.inf, torch.inf, -torch.inf))


def noise_of(graph: Graph, position: int, bounds: Sequence[IntervalBounds], noise: Sequence[Tensor]) -> Tensor:
    """How far a node's value may be from the exact affine function of the nonlinearities or inputs before it.

    bounds: of all nodes up to this one. noise: of all nodes before it. What functionals round on their way back
    through the node is part of it. Zero at the input and after nonlinearities, whose planes have room for their own.
    """
    node = graph.nodes[position]
    size = bounds[position].size
    if not isinstance(node.op, ops.Affine):
        return torch.zeros_like(size)
    given = [bounds[i].size for i in node.inputs]
    passed = ops.linear_part(ops.absolute(node.op)).evaluate(*(noise[i] for i in node.inputs))
    error = deployed(node.op, given, size)
    if error is not None:
        passed = passed + error
    unit = unit_of(size.dtype)
    if _mixes(node.op):
        passed = passed + gamma(_products(node.op) + _beside(graph), unit) * magnitude(node.op, given)
        passed = passed + gamma(_constants(node.op, node.shape) + _beside(graph), unit) * _constant(node.op, given)
    users = sum(i == position for n in graph.nodes for i in n.inputs)
    if users > 1:
        passed = passed + gamma(users, unit) * size
    if position == graph.output:
        last = tail_error(graph, size)
        passed = passed if last is None else passed + last
    return passed


def pushed_noise(
    graph: Graph,
    position: int,
    noise: Sequence[Tensor],
    given: Sequence[IntervalBounds],
    within: Sequence[Tensor],
    found: IntervalBounds,
) -> Tensor:
    """How far an affine node's value may be from the functions that are pushed forward through it.

    noise, given, within: of its inputs: what is known of theirs, their intervals, and what their functions add up to.
    found: its own interval.
    """
    op = graph.nodes[position].op
    assert isinstance(op, ops.Affine)
    passed = ops.linear_part(ops.absolute(op)).evaluate(*noise)
    error = deployed(op, [bounds.size for bounds in given], found.size)
    if error is not None:
        passed = passed + error
    if _mixes(op):
        unit = unit_of(passed.dtype)
        passed = passed + gamma(2 * ops.terms(op) + _beside(graph), unit) * magnitude(op, within)
    return passed


def noises(graph: Graph, bounds: Sequence[IntervalBounds]) -> list[Tensor]:
    """`noise_of` every node."""
    found: list[Tensor] = []
    for position in range(len(graph.nodes)):
        found.append(noise_of(graph, position, bounds, found))
    return found


def room(graph: Graph, noise: Tensor, bounds: IntervalBounds) -> Tensor:
    """What a unit of slope of a nonlinearity's planes pays for in its input: noise, and its own product's rounding."""
    return noise + plane_gamma(graph, 1, noise.dtype) * bounds.size


@dataclass(frozen=True, eq=False)
class PlaneCost:
    """What planes of a nonlinearity owe for rounding: by how far each is moved outwards.

    paid: for a unit of slope, of its input's shape. size: of its output. own, summed: relative errors of a plane, and
    of the sum of a functional's coefficients times offsets.
    """

    paid: Tensor
    size: Tensor
    own: float
    summed: float

    @classmethod
    def of(
        cls, graph: Graph, position: int, given: IntervalBounds, noise: Tensor, output: IntervalBounds
    ) -> "PlaneCost":
        """given, noise: of the nonlinearity's input. output: its own interval."""
        op, dtype = graph.nodes[position].op, output.lower.dtype
        own = plane_gamma(graph, len(op.pixels) + 1 if isinstance(op, ops.MaxPool2d) else 1, dtype)
        return cls(noise + own * given.size, output.size, own, offset_gamma(graph, position, dtype))

    def moved(self, through: Tensor, bias: Tensor, offset: Tensor | None = None) -> Tensor:
        """through: what the slopes, in absolute terms, make of `paid`. bias: of the plane.

        offset: the size of the numbers that are summed where they are others than the bias.
        """
        summed = bias.abs() if offset is None else offset
        tiny = torch.finfo(bias.dtype).tiny  # products too small for their format are rounded absolutely
        return through + self.own * (self.size + bias.abs()) + self.summed * summed + tiny


def charged(
    graph: Graph, position: int, planes: Relaxation, given: IntervalBounds, noise: Tensor, output: IntervalBounds
) -> Relaxation:
    """Planes of a nonlinearity moved apart by all that rounding can change between its input and its output.

    given, noise: of its input. output: its own interval.
    """
    op = graph.nodes[position].op
    cost = PlaneCost.of(graph, position, given, noise, output)
    # Of parallel planes the middle and half the distance are summed: together they are as large as the larger offset.
    offset = torch.maximum(planes.lower_bias.abs(), planes.upper_bias.abs()) if planes.parallel else None

    def through(slope: Tensor) -> Tensor:
        size = slope.abs()
        return _through(op, size, cost.paid) if isinstance(op, ops.MaxPool2d) else size * cost.paid

    below = through(planes.lower_slope)
    above = below if planes.parallel else through(planes.upper_slope)
    lower = cost.moved(below, planes.lower_bias, offset)
    upper = cost.moved(above, planes.upper_bias, offset)
    error = deployed(op, [given.size], output.size)
    if error is not None:
        lower, upper = lower + error, upper + error
    return Relaxation(planes.lower_slope, planes.lower_bias - lower, planes.upper_slope, planes.upper_bias + upper)


def plane_gamma(graph: Graph, candidates: int, dtype: torch.dtype) -> float:
    """The relative error of a plane over so many candidates, and of the coefficients that functionals make of it."""
    return gamma(_PLANE * candidates + _beside(graph), unit_of(dtype))


def offset_gamma(graph: Graph, position: int, dtype: torch.dtype) -> float:
    """The relative error of the sum of a functional's coefficients times the offsets of a node's outputs."""
    return gamma(_sums(graph.nodes[position].shape) + _beside(graph), unit_of(dtype))


def constant_gamma(graph: Graph, dtype: torch.dtype) -> float:
    """The relative error of the sums that a functional's own constant takes part in, node by node."""
    return gamma(_beside(graph), unit_of(dtype))


def summed_gamma(terms: int, dtype: torch.dtype) -> float:
    """The relative error of a sum of so many products, and of a few things before and after it."""
    return gamma(terms + 4 * _BESIDE, unit_of(dtype))


def concretized(inputs: int, dtype: torch.dtype) -> float:
    """The relative error of a functional's extreme over so many inputs."""
    return gamma(_sums((inputs,)) + 4 * _BESIDE, unit_of(dtype))


def row_error(C: Tensor, d: Tensor, outputs: IntervalBounds) -> Tensor:
    """How far rows C f + d, (batch, rows), may be from exact ones where they too are evaluated in single precision.

    The sign of a difference of two numbers is exact: rows that compare two outputs, or one with a number, owe nothing.
    """
    size = torch.einsum("brc,bc->br", C.abs(), outputs.size) + d.abs()
    return (gamma(C.shape[-1] + 2) * FUDGE * size).masked_fill(_plain(C, d), 0.0)


def _plain(C: Tensor, d: Tensor) -> Tensor:
    """Rows of at most two terms, each of them exact."""
    return ((C == 0) | (C.abs() == 1)).all(-1) & ((C != 0).sum(-1) + (d != 0) <= 2)


def interval_rows(specification: Specification, outputs: IntervalBounds) -> Tensor:
    """Lower bounds (batch, rows) of C f + d from intervals of the outputs f, (batch, classes).

    In double precision and rounded down; the sign of a sum of two numbers is exact, so ties are told apart there.
    """
    C, d = specification.C.double(), specification.d.double()
    low, high = outputs.lower.double().unsqueeze(1), outputs.upper.double().unsqueeze(1)
    terms = torch.where(C > 0, C * low, torch.where(C < 0, C * high, 0.0))
    error = gamma(C.shape[-1] + 2, unit_of(torch.float64)) * (terms.abs().sum(-1) + d.abs())
    return rounded_down(terms.sum(-1) + d - error.masked_fill(_plain(C, d), 0.0), outputs.lower.dtype)


def rounded_down(exact: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers in double precision as numbers of another format that are not larger."""
    near = exact.to(dtype)
    down = torch.nextafter(near, torch.full_like(near, -torch.inf))
    return torch.where(near.double() > exact, down, near)


def _constant(op: ops.Affine, given: Sequence[Tensor]) -> Tensor:
    """The absolute values that an operation adds to every entry."""
    match op:
        case ops.Conv2d() | ops.ConvTranspose2d():
            return op.bias.abs()[:, None, None]
        case ops.Linear() | ops.ExactRows() | ops.Scale() | ops.Divide() | ops.BatchNorm():
            return op.bias.abs()
        case _:
            return op.evaluate(*(torch.zeros_like(value[:1]) for value in given)).abs()


def _through(op: ops.MaxPool2d, slope: Tensor, paid: Tensor) -> Tensor:
    parts = views(op, paid, 0.0)
    total = slope[:, 0] * parts[0]
    for pixel, part in enumerate(parts[1:], start=1):
        total = total + slope[:, pixel] * part
    return total


def _beside(graph: Graph) -> int:
    """Roundings of a term beside those of its own sum: parts of a bound are added up node by node."""
    return 2 * len(graph.nodes) + _BESIDE


def _sums(shape: tuple[int, ...]) -> int:
    """Roundings of a term in a sum over all entries of a value (`rows.dot`)."""
    entries = math.prod(shape)
    return min(entries, PIECE) + math.ceil(entries / PIECE)


def _constants(op: ops.Affine, shape: tuple[int, ...]) -> int:
    """Roundings of a term in the sum of a functional's coefficients times what an operation adds to every entry."""
    if isinstance(op, ops.Conv2d | ops.ConvTranspose2d):
        return shape[0] + shape[1] * shape[2]  # a channel at a time
    return max(_sums(shape), shape[0]) if isinstance(op, ops.Dense) else _sums(shape)


def _mixes(op: ops.Affine) -> bool:
    """Whether functionals round on their way back through an operation."""
    match op:
        case ops.Reshape() | ops.Concat():
            return False
        case ops.Pad():
            return op.value != 0
        case ops.Gather():
            return _repetitions(op) > 1
        case _:
            return True


def _products(op: ops.Affine) -> int:
    """How many products a functional's coefficient adds up on its way back through an operation."""
    match op:
        case ops.Linear() | ops.ExactRows():
            return op.weight.shape[0]
        case ops.Conv2d():
            # An input lies in so many windows.
            seen = [math.ceil(k / s) for k, s in zip(op.weight.shape[2:], op.stride, strict=True)]
            return op.weight.shape[0] // op.groups * math.prod(seen)
        case ops.ConvTranspose2d():
            return math.prod(op.weight.shape[1:])
        case ops.Gather():
            return _repetitions(op)
        case _:
            return 2


def _repetitions(op: ops.Gather) -> int:
    return int(op.index.flatten().bincount().max())
