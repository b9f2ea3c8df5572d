"""Bounds of one specification row on each of a batch of subdomains, and the dual variables that make them.

Bounds of inner neurons stay those of the whole input set. A split removes a candidate from its maximum, tightens the
bounds of its two inputs, and joins the walk with a multiplier >= 0, as in beta-CROWN (Wang et al. 2021).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from calipers.bounds.propagation.backsubstitution import backsubstitute
from calipers.bounds.propagation.concretize import concretize, lowest_point
from calipers.bounds.propagation.linear import Propagation
from calipers.bounds.propagation.rows import Rows
from calipers.bounds.propagation.start import specification_rows
from calipers.bounds.relaxations import maxlin, paired
from calipers.bounds.relaxations.maxima import ABSENT, Maxima, maxima
from calipers.bounds.relaxations.relaxation import Relaxation
from calipers.bounds.relaxations.window import Windows
from calipers.bounds.rounding import PlaneCost, room
from calipers.core.problem import Specification
from calipers.core.sets import InputSet
from calipers.graph.ops import Relu
from calipers.verify.branching.splits import Halfspaces, MaximumSplit


@dataclass(frozen=True, eq=False)
class Ceiling:
    """One maximum on a batch of sets: which candidates can win, their bounds, and a plane above.

    lower, upper, alive: (batch, candidates, outputs). slope: (batch, pixels, outputs). bias: (batch, outputs).
    """

    lower: Tensor
    upper: Tensor
    alive: Bool[Tensor, "batch candidates outputs"]
    slope: Float[Tensor, "batch pixels outputs"]
    bias: Float[Tensor, "batch outputs"]

    @classmethod
    def of(cls, pixels: int, lower: Tensor, upper: Tensor, difference: Tensor) -> "Ceiling":
        """difference: bounds of the candidates' pairwise differences, (batch, candidates, candidates, outputs)."""
        # Where splits contradict each other the subdomain is empty, and anything is true of it.
        upper = torch.maximum(upper, lower)
        alive = paired.winners(lower, upper, difference)
        plane = paired.upper_plane(lower, upper, alive, difference)
        return cls(lower, upper, alive, *Windows(lower, upper, pixels).plane(*plane))

    def at(self, image: Int[Tensor, " some"]) -> "Ceiling":
        """Those of some sets of the batch, as copies."""
        return Ceiling(*(part[image] for part in vars(self).values()))

    def replace(self, domain: Int[Tensor, " some"], output: Int[Tensor, " some"], new: "Ceiling") -> None:
        """Put new ceilings, (some, ..., 1), in the place of some outputs."""
        for mine, theirs in zip(vars(self).values(), vars(new).values(), strict=True):
            place = (domain, output) if mine.dim() == 2 else (domain, slice(None), output)
            mine[place] = theirs[..., 0]


@dataclass(frozen=True, eq=False)
class Root:
    """What all subdomains share: a propagation over input sets, the specification, and the maxima on the whole sets.

    differences, ceilings: by the maxima's position.
    """

    propagation: Propagation
    input_set: InputSet
    specification: Specification
    views: tuple[Maxima, ...]
    differences: Mapping[int, Tensor]
    ceilings: Mapping[int, Ceiling]

    @classmethod
    def of(cls, propagation: Propagation, input_set: InputSet, specification: Specification) -> "Root":
        propagation.graph.require_order(specification.C, specification.d)
        views = maxima(propagation.graph)
        differences, ceilings = {}, {}
        for view in views:
            bounds = propagation.bounds[view.source]
            lower, upper = view.spread(bounds.lower.flatten(1)), view.spread(bounds.upper.flatten(1))
            found = propagation.differences.get(view.position)
            differences[view.position] = paired.independent(lower, upper) if found is None else found
            ceilings[view.position] = Ceiling.of(view.pixels, lower, upper, differences[view.position])
        return cls(propagation, input_set, specification, views, differences, ceilings)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.specification.d.device

    @property
    def candidates(self) -> int:
        """Candidates of all maxima together: the size of a subdomain."""
        return sum(view.candidates * view.outputs for view in self.views)

    @property
    def places(self) -> int:
        """Outputs of all maxima together: where splits can be made."""
        return sum(view.outputs for view in self.views)


@dataclass(frozen=True, eq=False)
class Variables:
    """Dual variables of a batch of subdomains. Any values are sound: below is a simplex over what is alive.

    below: by position, weights of the candidates in the plane below, (batch, candidates, outputs). multiplier: of each
    subdomain's splits, (batch, most splits), >= 0.
    """

    below: Mapping[int, Tensor]
    multiplier: Float[Tensor, "batch slots"]


@dataclass(frozen=True, eq=False)
class DualWalk:
    """One walk: a lower bound with every rounding charged, the point that attains it, and what reached every
    nonlinearity.

    coefficient: by position, of the nonlinearity's outputs, (batch, outputs).
    """

    lower: Float[Tensor, " batch"]
    lowest: Float[Tensor, "batch *shape"]
    coefficient: Mapping[int, Tensor]


@dataclass(frozen=True, eq=False)
class Subdomains:
    """A batch of them. image: of the root. row: of its specification. splits: of each subdomain."""

    root: Root
    image: Int[Tensor, " batch"]
    row: Int[Tensor, " batch"]
    splits: Sequence[Sequence[MaximumSplit]]
    halfspaces: Mapping[int, Halfspaces]
    ceilings: Mapping[int, Ceiling]
    fixed: Mapping[int, Relaxation]

    @classmethod
    def of(cls, root: Root, image: Tensor, row: Tensor, splits: Sequence[Sequence[MaximumSplit]]) -> "Subdomains":
        halfspaces, ceilings = {}, {}
        # Several maxima can share an input: every split tightens it for all of them.
        inputs: dict[int, tuple[Tensor, Tensor]] = {}
        for view in root.views:
            halfspaces[view.position] = Halfspaces.of(view, splits)
            if view.source not in inputs:
                bounds = root.propagation.bounds[view.source]
                inputs[view.source] = (bounds.lower.flatten(1)[image], bounds.upper.flatten(1)[image])
            halfspaces[view.position].tighten(*inputs[view.source])
        for view in root.views:
            ceilings[view.position] = _ceiling(root, view, image, *inputs[view.source], halfspaces[view.position])
        relaxations = root.propagation.relaxations
        fixed = {position: r.at(image) for position, r in relaxations.items() if position not in ceilings}
        return cls(root, image, row, splits, halfspaces, ceilings, fixed)

    def __len__(self) -> int:
        return len(self.image)

    @cached_property
    def alive(self) -> Mapping[int, Float[Tensor, "batch candidates outputs"]]:
        """By position, 1 for candidates that can win and 0 for others: a product is far faster than a masked fill."""
        return {position: ceiling.alive.to(ceiling.lower.dtype) for position, ceiling in self.ceilings.items()}

    def start(self) -> Variables:
        """The single candidate with the largest midpoint below; no multipliers."""
        below = {}
        for position, ceiling in self.ceilings.items():
            below[position] = maxlin.lower_pixel(Windows(ceiling.lower, ceiling.upper, ceiling.lower.shape[1]))
        most = max(map(len, self.splits), default=0)
        return Variables(below, self.root.specification.d.new_zeros(len(self), most))

    def admissible(self, below: Mapping[int, Tensor], multiplier: Tensor) -> Variables:
        """The nearest-looking admissible variables: weights of the dead go, and all add up to 1 again."""
        cleaned = {}
        for position, weights in below.items():
            kept = weights.clamp_min(0).mul_(self.alive[position])
            total = kept.sum(1, keepdim=True)
            if bool((total <= 1e-3).any()):
                kept = torch.where(total > 1e-3, kept, self.alive[position])
                total = kept.sum(1, keepdim=True)
            cleaned[position] = kept.div_(total)
        return Variables(cleaned, multiplier.clamp_min(0))

    def walk(self, variables: Variables) -> DualWalk:
        """The lower bound of each subdomain's row that the variables give."""
        graph = self.root.propagation.graph
        coefficients: dict[int, Tensor] = {}

        def visit(position: int, rows: Rows) -> Rows:
            if position in self.ceilings or position in self.fixed:
                coefficients[position] = rows.coefficient.flatten(1)
            for view in self.root.views:
                halfspaces = self.halfspaces[view.position]
                if view.source == position and len(halfspaces):
                    coefficient, constant = rows.coefficient.flatten(1).clone(), rows.constant[0, :, 0].clone()
                    share = variables.multiplier[halfspaces.domain, halfspaces.slot]
                    halfspaces.subtract(coefficient, constant, share, self.rooms[position])
                    rows = replace(
                        rows, coefficient=coefficient.reshape(rows.coefficient.shape), constant=constant[None, :, None]
                    )
            return rows

        C = self.root.specification.C[self.image, self.row].unsqueeze(1)
        d = self.root.specification.d[self.image, self.row].unsqueeze(1)
        noise = self.root.propagation.noise[graph.output][self.image]
        rows = specification_rows(Specification(C, d), self.root.propagation.bounds[graph.output].at(self.image))
        at_input = backsubstitute(graph, graph.output, rows, self.planes(variables), noise, visit=visit)[0]
        for position in {*self.ceilings, *self.fixed} - set(coefficients):
            coefficients[position] = C.new_zeros(len(self), math.prod(graph.nodes[position].shape))  # beside the way
        sets = self.root.input_set[self.image]
        return DualWalk(
            concretize(sets, at_input)[0, :, 0],
            lowest_point(sets, at_input.coefficient[:, 0]),
            coefficients,
        )

    def planes(self, variables: Variables) -> dict[int, Relaxation]:
        """The planes of every nonlinearity that the variables mean."""
        planes = dict(self.fixed)
        graph = self.root.propagation.graph
        for view in self.root.views:
            ceiling, below = self.ceilings[view.position], variables.below[view.position]
            shape = graph.nodes[view.position].shape
            bias = torch.zeros_like(ceiling.bias) if view.floor is None else below[:, -1] * view.floor
            lower_slope, upper_slope = below[:, : view.pixels], ceiling.slope
            cost = self._costs[view.position]
            lower_bias = bias - cost.moved((lower_slope.abs() * cost.paid).sum(1), bias)
            upper_bias = ceiling.bias + cost.moved((upper_slope.abs() * cost.paid).sum(1), ceiling.bias)
            windowed = not isinstance(graph.nodes[view.position].op, Relu)
            lower, upper = (
                s.unflatten(2, shape) if windowed else s[:, 0].unflatten(1, shape) for s in (lower_slope, upper_slope)
            )
            planes[view.position] = Relaxation(
                lower, lower_bias.unflatten(1, shape), upper, upper_bias.unflatten(1, shape)
            )
        return planes

    @cached_property
    def rooms(self) -> Mapping[int, Float[Tensor, "batch entries"]]:
        """By source of a maximum, what a coefficient of each entry pays for noise and rounding."""
        start = self.root.propagation
        sources = {view.source for view in self.root.views}
        return {
            source: room(start.graph, start.noise[source], start.bounds[source]).flatten(1)[self.image]
            for source in sources
        }

    @cached_property
    def _costs(self) -> Mapping[int, PlaneCost]:
        """By position, with `paid` laid under the pixels of every output."""
        start = self.root.propagation
        found = {}
        for view in self.root.views:
            given, output = start.bounds[view.source], start.bounds[view.position]
            cost = PlaneCost.of(start.graph, view.position, given, start.noise[view.source], output)
            laid = view.spread(cost.paid.flatten(1)[self.image])[:, : view.pixels].clamp_min(0)  # padding has no slope
            found[view.position] = replace(cost, paid=laid, size=cost.size.flatten(1)[self.image])
        return found

    def response(self, variables: Variables, walk: DualWalk) -> list[Tensor]:
        """The value of every node when each nonlinearity is the plane that the walk used, at the walk's lowest point.

        The bound is linear in each variable at a time, with these values as its slopes.
        """
        graph = self.root.propagation.graph
        views = {view.position: view for view in self.root.views}
        values: list[Tensor] = []
        for position, node in enumerate(graph.nodes):
            inputs = [values[i] for i in node.inputs]
            if position in views:
                view, ceiling = views[position], self.ceilings[position]
                laid = view.spread(inputs[0].flatten(1))
                below = (variables.below[position] * self.alive[position]).mul_(laid).sum(1)
                above = (ceiling.slope * laid[:, : view.pixels]).sum(1) + ceiling.bias
                values.append(torch.where(walk.coefficient[position] > 0, below, above).unflatten(1, node.shape))
            elif position in self.fixed:
                planes = self.fixed[position]
                share = walk.coefficient[position].unflatten(1, node.shape)
                lower = planes.lower_slope * inputs[0] + planes.lower_bias
                upper = planes.upper_slope * inputs[0] + planes.upper_bias
                values.append(torch.where(share > 0, lower, upper))
            else:
                values.append(node.op.evaluate(*inputs) if inputs else walk.lowest)
        return values


def _ceiling(root: Root, view: Maxima, image: Tensor, lower: Tensor, upper: Tensor, halfspaces: Halfspaces) -> Ceiling:
    """The root's, but for outputs with a split or with a candidate that a split has tightened."""
    ceiling = root.ceilings[view.position].at(image)
    bounds = root.propagation.bounds[view.source]
    changed = lower != bounds.lower.flatten(1)[image]
    changed |= upper != bounds.upper.flatten(1)[image]
    affected = view.touched(changed)
    affected[halfspaces.domain, halfspaces.output] = True
    domain, output = affected.nonzero().unbind(1)
    if not len(domain):
        return ceiling
    low, high = view.gather(lower, domain, output), view.gather(upper, domain, output)
    if len(halfspaces):
        number = torch.zeros_like(affected, dtype=torch.long)
        number[domain, output] = torch.arange(len(domain), device=domain.device)
        gone = (number[halfspaces.domain, halfspaces.output], halfspaces.candidate)
        low[gone] = ABSENT
        high[gone] = ABSENT
    low, high = low.unsqueeze(2), high.unsqueeze(2)
    known = root.differences[view.position][image[domain], :, :, output].unsqueeze(3)
    difference = torch.minimum(paired.independent(low, high), known)
    ceiling.replace(domain, output, Ceiling.of(view.pixels, low, high, difference))
    return ceiling
