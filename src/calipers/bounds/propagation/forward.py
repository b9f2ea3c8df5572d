"""Linear bounds that go forward, for sets of few free inputs: one pass instead of a walk back from every node."""

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from calipers.bounds.budget import WorkBudget
from calipers.bounds.cost import enclosure_bytes, last_uses
from calipers.bounds.method import MarginBounds
from calipers.bounds.propagation.affine import AffineMap, Enclosed, push
from calipers.bounds.propagation.concretize import concretize
from calipers.bounds.propagation.free import free_inputs, restrict
from calipers.bounds.propagation.interval import transfer
from calipers.bounds.propagation.rows import Rows
from calipers.bounds.propagation.tail import last_nonlinear, tail, tail_margins
from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.bounds.rounding import (
    charged,
    input_bounds,
    noises,
    plane_gamma,
    pushed_noise,
    summed_gamma,
)
from calipers.core.errors import InputError
from calipers.core.intervals import IntervalBounds
from calipers.core.problem import Specification
from calipers.core.sets import Box, InputSet
from calipers.graph import ops
from calipers.graph.graph import Graph
from calipers.graph.rewrite import fuse_windows

# With more free inputs a walk back from the neurons that intervals leave is cheaper (benchmarks/forward.py).
_FEW = 32


@runtime_checkable
class Chooser(Protocol):
    """What chooses the planes of a nonlinearity, and whether a ReLU and the maxpool after it are one."""

    @property
    def fused(self) -> bool: ...

    def relax(self, op: ops.Nonlinear, bounds: IntervalBounds) -> Relaxation: ...


@dataclass(frozen=True, eq=False)
class Enclosures:
    """sets: the input sets over their free inputs. values, intervals: by node, those that were asked for or needed."""

    sets: InputSet
    values: dict[int, Enclosed]
    intervals: dict[int, IntervalBounds]


@dataclass(frozen=True)
class ForwardBounds:
    """Every node between two affine functions of the free inputs. base: chooses the planes, and whether to fuse.

    Time and memory grow with the number of free inputs, not with the number of neurons whose bounds matter.
    """

    name: str
    base: Chooser

    def require(self, graph: Graph, input_set: InputSet, budget: WorkBudget) -> None:
        """Raise InputError if a single set exceeds the budget."""
        self._set_bytes(self._prepared(graph), input_set, budget)

    def margins(
        self, graph: Graph, input_set: InputSet, specification: Specification, budget: WorkBudget
    ) -> MarginBounds:
        """Raises InputError where `require` does."""
        graph.require_order(specification.C, specification.d)
        graph = self._prepared(graph)
        chunks = budget.chunks(len(specification), self._set_bytes(graph, input_set, budget))
        parts = [self._margins(graph, input_set[part], specification[part]) for part in chunks]
        return MarginBounds(torch.cat([part.lower for part in parts]))

    def propagate(self, graph: Graph, input_set: InputSet, wanted: Set[int]) -> Enclosures:
        """Enclosures of the wanted nodes of a graph as it is."""
        free, box = free_inputs(input_set), input_set.box()
        sets, last = restrict(input_set, free), last_uses(graph, wanted)
        judged = {i for node in graph.nodes if isinstance(node.op, ops.Nonlinear) for i in node.inputs}
        values = {0: _identity(box, free)}
        intervals = {0: input_bounds(input_set)}
        largest = input_bounds(sets).size
        for position, node in enumerate(graph.nodes[1:], start=1):
            if position not in last:
                continue
            op, sources = node.op, [values[i] for i in node.inputs]
            given = [intervals[i] for i in node.inputs]
            intervals[position] = transfer(op, *given)
            within = [source.size(largest) for source in sources]
            if isinstance(op, ops.Nonlinear):
                planes = self.base.relax(op, given[0])
                # The maps add up more than the value they enclose.
                paid = sources[0].noise + plane_gamma(graph, 1, largest.dtype) * within[0]
                planes = charged(graph, position, planes, given[0], paid, intervals[position])
                values[position] = push(op, sources, torch.zeros_like(planes.lower_bias), planes)
            else:
                noise = pushed_noise(graph, position, [s.noise for s in sources], given, within, intervals[position])
                values[position] = push(op, sources, noise, None)
            if position in judged:
                found = _interval(sets, values[position])
                intervals[position] = intervals[position].intersect(found).ordered()
            for source in set(node.inputs):
                if last[source] == position:
                    del values[source]
        return Enclosures(sets, values, intervals)

    def _margins(self, graph: Graph, input_set: InputSet, specification: Specification) -> MarginBounds:
        found = self.propagate(graph, input_set, last_nonlinear(graph))
        intervals = dict(found.intervals)
        for position, node in enumerate(graph.nodes):
            if position not in intervals:
                intervals[position] = transfer(node.op, *(intervals[i] for i in node.inputs))
        noise = noises(graph, [intervals[position] for position in range(len(graph.nodes))])
        reached = tail(graph, specification, intervals[graph.output], noise[graph.output])
        largest = input_bounds(found.sets).size
        coefficient = constant = lost = specification.d.new_zeros(())
        size = specification.d.abs()
        for position, part in reached.items():
            weights, enclosure = part.dense().coefficient.flatten(2), found.values[position]
            for weight, side in ((weights.clamp(min=0), enclosure.lower), (weights.clamp(max=0), enclosure.upper)):
                inner, outer = side.coefficient.flatten(2), side.constant.flatten(1)
                coefficient = coefficient + weight @ inner.transpose(1, 2)
                constant = constant + torch.einsum("brn,bn->br", weight, outer)
                own = torch.einsum("bin,bi->bn", inner.abs(), largest) + outer.abs()
                size = size + torch.einsum("brn,bn->br", weight.abs(), own)
            lost = lost + torch.einsum("brn,bn->br", weights.abs(), enclosure.noise.flatten(1))
            constant, size = constant + part.constant[0], size + part.constant[0].abs()
        terms = sum(math.prod(graph.nodes[position].shape) for position in reached)
        lower = concretize(found.sets, _rows(coefficient, constant.unsqueeze(0)))[0]
        bounds = MarginBounds(lower - lost - summed_gamma(terms, lower.dtype) * size)
        # The planes of a nonlinearity can leave its interval, so intervals are better now and then.
        return bounds.better(tail_margins(reached, found.intervals))

    def _prepared(self, graph: Graph) -> Graph:
        return fuse_windows(graph) if self.base.fused else graph

    def _set_bytes(self, graph: Graph, input_set: InputSet, budget: WorkBudget) -> int:
        inputs, needed = _cost(graph, input_set)
        if needed > budget.bytes:
            raise InputError(
                f"{self.name}: {inputs} free inputs need {needed / 2**20:.3g} MiB for a single sample, the budget is "
                f"{budget.bytes / 2**20:.3g} MiB; accepted: sets with fewer free inputs, or more memory (--memory)"
            )
        return needed


def quick_intervals(
    base: Chooser, graph: Graph, input_set: InputSet, budget: WorkBudget
) -> Mapping[int, IntervalBounds]:
    """Intervals of the nodes before nonlinearities by one pass forward; none where free inputs are many."""
    inputs, needed = _cost(graph, input_set)
    if inputs > _FEW or needed > budget.bytes:
        return {}
    method = ForwardBounds("", base)
    parts = [
        method.propagate(graph, input_set[part], {graph.output}).intervals
        for part in budget.chunks(len(input_set), needed)
    ]
    judged = {i for node in graph.nodes if isinstance(node.op, ops.Nonlinear) for i in node.inputs} - {0}
    return {
        i: IntervalBounds(torch.cat([part[i].lower for part in parts]), torch.cat([part[i].upper for part in parts]))
        for i in judged & parts[0].keys()
    }


def _cost(graph: Graph, input_set: InputSet) -> tuple[int, int]:
    """How many inputs are free, and the bytes that a single set takes."""
    inputs = len(free_inputs(input_set))
    return inputs, enclosure_bytes(graph, inputs, input_set.box().lower.element_size())


def _identity(box: Box, free: Int[Tensor, " inputs"]) -> Enclosed:
    """The input itself: free entries are variables, the others constants."""
    constant = box.lower.flatten(1).index_fill(1, free, 0.0)
    unit = torch.zeros(len(free), constant.shape[1], dtype=constant.dtype, device=constant.device)
    unit[torch.arange(len(free), device=unit.device), free] = 1.0
    shape = box.lower.shape[1:]
    same = AffineMap(unit.expand(len(constant), -1, -1).unflatten(2, shape), constant.unflatten(1, shape))
    return Enclosed(same, same, torch.zeros_like(same.constant))


def _interval(sets: InputSet, value: Enclosed) -> IntervalBounds:
    """The extremes of an enclosure over the sets."""
    low, high = (
        concretize(sets, _rows(side.coefficient.flatten(2).transpose(1, 2), side.constant.flatten(1).expand(2, -1, -1)))
        for side in (value.lower, value.upper)
    )
    shape = value.lower.constant.shape
    return IntervalBounds(low[0].reshape(shape) - value.noise, high[1].reshape(shape) + value.noise)


def _rows(coefficient: Float[Tensor, "batch rows inputs"], constant: Float[Tensor, "sides batch rows"]) -> Rows:
    image = torch.arange(len(coefficient), device=coefficient.device)
    return Rows(coefficient, constant, image, None, coefficient.shape[2:])
