"""A network over an input set as a mixed-integer linear program, without any relaxation (Tjeng et al. 2019).

Maxima are exact: their output is no less than any candidate, and a binary says which candidate it does not exceed.
Bounds of the neurons are the constants there (big M); a maximum that they decide needs no variable at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_array, diags_array, vstack
from torch import Tensor

from calipers.bounds.relaxations.maxima import Maxima
from calipers.core.errors import InputError
from calipers.core.intervals import IntervalBounds
from calipers.core.sets import InputSet
from calipers.graph import ops
from calipers.graph.graph import Graph, Node
from calipers.solve.program import Draft, Expression, Program
from calipers.verify.milp.region import flat, region, require_polytope

_ACCEPTED = "affine layers, ReLU and maxpool, and all that is made of them (LeakyReLU, clamp, maximum, average pools)"
# Unit vectors that go through an affine operation at a time.
_CHUNK = 256


@dataclass(frozen=True, eq=False)
class Encoding:
    """The program, and the flat input and output of the network in its variables."""

    program: Program
    inputs: Expression
    outputs: Expression


def require(graph: Graph, input_set: InputSet) -> None:
    """Raise InputError for what a mixed-integer linear program cannot say exactly."""
    for position, node in enumerate(graph.nodes[1:], start=1):
        if not isinstance(node.op, ops.Affine) and Maxima.of(graph, position) is None:
            raise InputError(f"milp: node {node.name!r} is a {type(node.op).__name__}; accepted: {_ACCEPTED}")
    require_polytope(input_set)


def encode(graph: Graph, bounds: Sequence[IntervalBounds], input_set: InputSet) -> Encoding:
    """The program of one input set. graph: in double precision. bounds: of every node over the set.

    Raises InputError if `require` does, or if a bound is not finite.
    """
    require(graph, input_set)
    assert len(input_set) == 1
    draft = Draft()
    values = [region(input_set, draft)]
    for position, node in enumerate(graph.nodes[1:], start=1):
        operands = [values[i] for i in node.inputs]
        if isinstance(node.op, ops.Affine):
            values.append(_affine(node.op, [graph.nodes[i] for i in node.inputs], operands))
        else:
            view = Maxima.of(graph, position)
            assert view is not None
            given = bounds[view.source]
            if not bool(torch.isfinite(given.lower).all() and torch.isfinite(given.upper).all()):
                raise InputError(f"milp: the input of node {node.name!r} has no finite bounds; accepted: bounded sets")
            values.append(_maximum(draft, view, operands[0], given))
    return Encoding(draft.program(), values[0], values[-1])


def _affine(op: ops.Affine, sources: list[Node], operands: list[Expression]) -> Expression:
    linear = ops.linear_part(op)
    shapes = [source.shape for source in sources]
    parts = [operand.mixed(_matrix(linear, shapes, k)) for k, operand in enumerate(operands)]
    constant = op.evaluate(*(torch.zeros(1, *shape, dtype=torch.float64) for shape in shapes))
    return reduce(Expression.__add__, parts, Expression.fixed(flat(constant)))


def _matrix(op: ops.Affine, shapes: list[tuple[int, ...]], k: int) -> csr_array:
    """The matrix of a linear operation in its operand k."""
    size = torch.Size(shapes[k]).numel()
    columns = []
    for first in range(0, size, _CHUNK):
        number = torch.arange(first, min(size, first + _CHUNK))
        unit = torch.nn.functional.one_hot(number, size).double().unflatten(1, shapes[k])
        others = [unit if i == k else unit.new_zeros(len(number), *shape) for i, shape in enumerate(shapes)]
        columns.append(csr_array(op.evaluate(*others).flatten(1).numpy()))
    return csr_array(vstack(columns, format="csr").T)


def _maximum(draft: Draft, view: Maxima, source: Expression, bounds: IntervalBounds) -> Expression:
    """Every output of a ReLU or maxpool: a candidate where the bounds decide, else a variable y.

    For each candidate k, 0 <= y - x_k <= (largest upper bound of the others - l_k) (1 - b_k); one b is 1.
    """
    low, high = _candidates(view, bounds.lower), _candidates(view, bounds.upper)
    winner, number = low.argmax(0), np.arange(view.outputs)
    alive = high > low.max(0)
    alive[winner, number] = True
    values, entry = source, view.entry.numpy()
    if view.floor is not None:
        values = source.joined(Expression.fixed(np.full(1, view.floor)))
        entry = np.vstack([entry, np.full((1, view.outputs), len(source))])
    open_ = alive.sum(0) > 1
    result = draft.variables(low.max(0)[open_], np.where(alive, high, -np.inf).max(0)[open_])
    output, candidate = np.nonzero((alive & open_).T)
    pixel, own = values[entry[candidate, output]], (np.cumsum(open_) - 1)[output]
    choice = draft.variables(np.zeros(len(own)), np.ones(len(own)), integer=True)
    gap = _highest_other(high, alive)[candidate, output] - low[candidate, output]
    above = result[own] - pixel
    draft.require(above, 0.0, np.inf)
    closed = Expression.fixed(-gap) + choice.mixed(csr_array(diags_array(gap)))
    draft.require(above + closed, -np.inf, 0.0)
    ones = (np.ones(len(own)), (own, np.arange(len(own))))
    draft.require(choice.mixed(csr_array(ones, shape=(len(result), len(own)))), 1.0, 1.0)
    decided = values[entry[winner, number][~open_]]
    order = np.argsort(np.concatenate([np.flatnonzero(open_), np.flatnonzero(~open_)]))
    return result.joined(decided)[order]


def _candidates(view: Maxima, side: Tensor) -> Float[np.ndarray, "candidates outputs"]:
    return view.spread(side.flatten(1))[0].double().numpy()


def _highest_other(high: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """Of every candidate, the largest upper bound among the other alive ones."""
    high = np.where(alive, high, -np.inf)
    first = high.argmax(0, keepdims=True)
    rest = high.copy()
    np.put_along_axis(rest, first, -np.inf, 0)
    return np.where(np.arange(len(high))[:, None] == first, rest.max(0), high.max(0))
