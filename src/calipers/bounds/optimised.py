"""Optimised linear bounds: gradient ascent over the planes of every nonlinearity, on both sides, maxpool included.

As in alpha-CROWN (Xu et al. 2021) every walk has planes of its own: the walks for the bounds of inner neurons share
them per image, each specification row has its own. Beyond it, the upper planes of maxpool move too.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from calipers.bounds.budget import WorkBudget
from calipers.bounds.method import MarginBounds
from calipers.bounds.propagation.interval import transfer
from calipers.bounds.propagation.linear import LinearBounds, Propagation, specification_bounds
from calipers.bounds.propagation.walks import Walks, unsettled
from calipers.bounds.relaxations.planes import PlaneFamily, families
from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.bounds.rounding import charged
from calipers.core.intervals import IntervalBounds
from calipers.core.problem import Specification
from calipers.core.sets import InputSet
from calipers.graph.graph import Graph

# Arrays of the size of the coefficients that the gradient of one walk keeps.
_KEPT = 60


@dataclass(frozen=True)
class Optimised:
    """Start at `base`; spend `steps` of Adam on each instance that `base` leaves unproven.

    The best bound of the search counts, row by row, so none is looser than the base's. rate: Adam's learning rate,
    falling geometrically to a tenth.
    """

    name: str
    base: LinearBounds
    steps: int = 20
    rate: float = 0.3

    def margins(
        self, graph: Graph, input_set: InputSet, specification: Specification, budget: WorkBudget
    ) -> MarginBounds:
        propagation = self.base.propagate(graph, input_set, budget)
        start = specification_bounds(propagation, input_set, specification, budget)
        lower = start.lower.clone()
        open_ = (~start.proven).nonzero()[:, 0]
        neurons = sum(bound.lower[0].numel() for bound in propagation.bounds)
        for part in budget.chunks(len(open_), neurons * _KEPT * lower.element_size()):
            image = open_[part]
            search = _Search.of(propagation, input_set, specification, image)
            found = self._ascend(search, MarginBounds(lower[image]), budget)
            lower[image] = found.lower
        return MarginBounds(lower)

    def _ascend(self, search: "_Search", best: MarginBounds, budget: WorkBudget) -> MarginBounds:
        variables = search.variables
        if not variables:
            return best
        adam = torch.optim.Adam(variables, self.rate, maximize=True)
        falling = torch.optim.lr_scheduler.ExponentialLR(adam, 0.1 ** (1 / self.steps))
        for step in range(self.steps + 1):
            with torch.enable_grad():
                here = search.bounds(budget)
                best = best.better(MarginBounds(here.lower.detach()))
                unproven = ~(best.lower > 0)
                if step == self.steps or not bool(unproven.any()):
                    break
                adam.zero_grad()
                here.lower[unproven].sum().backward()
            adam.step()
            falling.step()
            search.project()
        return best


@dataclass(frozen=True, eq=False)
class _Search:
    """Some images, with planes for the walks from each node whose neurons are refined and for every row.

    inner: by start node, then by nonlinearity. outer: by nonlinearity, for images repeated once per row.
    wanted: by start node, the neurons to refine.
    """

    start: Propagation
    sets: InputSet
    specification: Specification
    wanted: dict[int, Bool[Tensor, "batch *shape"]]
    inner: dict[int, dict[int, PlaneFamily]]
    outer: dict[int, PlaneFamily]

    @classmethod
    def of(
        cls, propagation: Propagation, input_set: InputSet, specification: Specification, image: Int[Tensor, " some"]
    ) -> "_Search":
        graph = propagation.graph
        bounds = [b.at(image) for b in propagation.bounds]
        fixed = {position: relaxation.at(image) for position, relaxation in propagation.relaxations.items()}
        noise = [n[image] for n in propagation.noise]
        wanted = {}
        for position in range(1, len(graph.nodes)):
            neurons = unsettled(graph, position, bounds[position])
            if neurons is not None and any(n < position for n in propagation.relaxations):
                wanted[position] = neurons
        rows = specification.d.shape[1]
        repeated = [b.repeated(rows) for b in bounds]
        return cls(
            Propagation(graph, bounds, fixed, noise),
            input_set[image],
            specification[image],
            wanted,
            {position: families(graph, bounds, position) for position in wanted},
            families(graph, repeated, graph.output),
        )

    @property
    def variables(self) -> list[Tensor]:
        """Everything the search may move."""
        return [variable for planes in self._all for variable in planes.variables]

    @property
    def _all(self) -> list[PlaneFamily]:
        return [planes for family in [*self.inner.values(), self.outer] for planes in family.values()]

    def project(self) -> None:
        """Back to where every member is sound."""
        for planes in self._all:
            planes.project()

    def bounds(self, budget: WorkBudget) -> MarginBounds:
        """Bounds of every row with the planes as they are."""
        graph, rows = self.start.graph, self.specification.d.shape[1]
        bounds = self.start.bounds[:1]
        for position, node in enumerate(graph.nodes[1:], start=1):
            cheap = transfer(node.op, *(bounds[i] for i in node.inputs)).intersect(self.start.bounds[position])
            if position in self.wanted:
                planes = self._relaxed(self.inner[position], bounds, {**self.start.relaxations}, 1)
                walks = Walks(graph, position, planes, self.start.noise[position], self.sets, budget)
                linear = walks.both_sides(self.wanted[position], cheap)
                cheap = linear.intersect(cheap)
            bounds.append(cheap)
        image = torch.arange(len(self.specification), device=self.specification.d.device).repeat_interleave(rows)
        fixed = {position: relaxation.at(image) for position, relaxation in self.start.relaxations.items()}
        planes = self._relaxed(self.outer, bounds, fixed, rows)
        single = Specification(self.specification.C.flatten(0, 1).unsqueeze(1), self.specification.d.reshape(-1, 1))
        outputs = bounds[-1].at(image)
        noise = [n[image] for n in self.start.noise]
        repeated = Propagation(graph, [*bounds[:-1], outputs], planes, noise)
        found = specification_bounds(repeated, self.sets[image], single, budget)
        return MarginBounds(found.lower.reshape(-1, rows))

    def _relaxed(
        self, planes: dict[int, PlaneFamily], bounds: list[IntervalBounds], fixed: dict[int, Relaxation], repeat: int
    ) -> dict[int, Relaxation]:
        # The bounds that the search starts from are wider, so their noise is enough.
        graph, start = self.start.graph, self.start
        for position, family in planes.items():
            source = graph.nodes[position].inputs[0]
            given, output = bounds[source].repeated(repeat), start.bounds[position].repeated(repeat)
            noise = start.noise[source].repeat_interleave(repeat, 0)
            fixed[position] = charged(graph, position, family.relaxation(given), given, noise, output)
        return fixed
