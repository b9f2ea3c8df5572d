"""Optimised linear bounds: gradient ascent over the planes of every nonlinearity, on both sides, maxpool included.

Slopes as in alpha-CROWN (Xu et al. 2021), row by row; beyond it, the upper planes of maxpool move too.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from calipers.bounds.budget import MemoryBudget
from calipers.bounds.linear import LinearBounds, Propagation, specification_bounds
from calipers.bounds.method import MarginBounds
from calipers.bounds.planes import MaxPoolPlanes, Planes, ReluPlanes
from calipers.core.intervals import IntervalBounds
from calipers.core.problem import Specification
from calipers.core.sets import InputSet
from calipers.graph import ops
from calipers.graph.graph import Graph

# Floats that one row keeps per neuron: planes, variables, gradients and Adam's moments.
_FLOATS = 40


@dataclass(frozen=True)
class Optimised:
    """Start at `base`; spend `steps` of Adam on each row that `base` leaves unproven, with the neurons' bounds fixed.

    The best bound of the search counts, so none is looser than the base's. rate: Adam's learning rate, falling
    geometrically to a tenth.
    """

    name: str
    base: LinearBounds
    steps: int = 20
    rate: float = 0.3

    def margins(
        self, graph: Graph, input_set: InputSet, specification: Specification, budget: MemoryBudget
    ) -> MarginBounds:
        propagation = self.base.propagate(graph, input_set, budget)
        start = specification_bounds(propagation, input_set, specification, budget)
        lower, slack = start.lower.clone(), start.slack.clone()
        image, row = (~(lower > slack)).nonzero(as_tuple=True)
        neurons = sum(bound.lower[0].numel() for bound in propagation.bounds)
        for part in budget.chunks(len(image), neurons * _FLOATS * lower.element_size()):
            found = self._ascend(propagation, input_set, specification, image[part], row[part], budget)
            better = found.lower[:, 0] > lower[image[part], row[part]]
            lower[image[part], row[part]] = torch.where(better, found.lower[:, 0], lower[image[part], row[part]])
            slack[image[part], row[part]] = torch.where(better, found.slack[:, 0], slack[image[part], row[part]])
        return MarginBounds(lower, slack)

    def _ascend(
        self,
        propagation: Propagation,
        input_set: InputSet,
        specification: Specification,
        image: Int[Tensor, " tasks"],
        row: Int[Tensor, " tasks"],
        budget: MemoryBudget,
    ) -> MarginBounds:
        """Every row is an image of its own here, so every row has its own planes."""
        tasks = _Tasks.of(propagation, input_set, specification, image, row)
        planes = _planes(tasks.propagation)
        variables = [variable for family in planes.values() for variable in family.variables]
        best: MarginBounds | None = None
        if not variables:
            return specification_bounds(tasks.propagation, tasks.sets, tasks.specification, budget)
        adam = torch.optim.Adam(variables, self.rate, maximize=True)
        falling = torch.optim.lr_scheduler.ExponentialLR(adam, 0.1 ** (1 / self.steps))
        for step in range(self.steps + 1):
            with torch.enable_grad():
                chosen = {position: family.relaxation() for position, family in planes.items()}
                moved = Propagation(
                    tasks.propagation.graph,
                    tasks.propagation.bounds,
                    {**tasks.propagation.relaxations, **chosen},
                )
                here = specification_bounds(moved, tasks.sets, tasks.specification, budget)
                if step < self.steps:
                    adam.zero_grad()
                    here.lower.sum().backward()
            best = _better(best, MarginBounds(here.lower.detach(), here.slack.detach()))
            if step < self.steps:
                adam.step()
                falling.step()
                for family in planes.values():
                    family.project()
        assert best is not None
        return best


@dataclass(frozen=True, eq=False)
class _Tasks:
    """One instance per row to improve."""

    propagation: Propagation
    sets: InputSet
    specification: Specification

    @classmethod
    def of(
        cls,
        propagation: Propagation,
        input_set: InputSet,
        specification: Specification,
        image: Int[Tensor, " tasks"],
        row: Int[Tensor, " tasks"],
    ) -> "_Tasks":
        bounds = [IntervalBounds(b.lower[image], b.upper[image]) for b in propagation.bounds]
        planes = {position: relaxation.at(image) for position, relaxation in propagation.relaxations.items()}
        single = Specification(specification.C[image, row].unsqueeze(1), specification.d[image, row].unsqueeze(1))
        return cls(Propagation(propagation.graph, bounds, planes), input_set[image], single)


def _planes(propagation: Propagation) -> dict[int, Planes]:
    planes: dict[int, Planes] = {}
    for position, node in enumerate(propagation.graph.nodes):
        if isinstance(node.op, ops.Relu):
            planes[position] = ReluPlanes.of(propagation.bounds[node.inputs[0]])
        elif isinstance(node.op, ops.MaxPool2d):
            planes[position] = MaxPoolPlanes.of(node.op, propagation.bounds[node.inputs[0]])
    return planes


def _better(one: MarginBounds | None, two: MarginBounds) -> MarginBounds:
    if one is None:
        return two
    ahead: Float[Tensor, "batch rows"] = two.lower > one.lower
    return MarginBounds(torch.where(ahead, two.lower, one.lower), torch.where(ahead, two.slack, one.slack))
