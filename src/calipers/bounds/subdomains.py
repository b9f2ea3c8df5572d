"""Bounds of one specification row on each of a batch of subdomains, and the dual variables that make them.

Bounds of inner neurons stay those of the whole input set. A split removes a candidate from its maximum, tightens the
bounds of its two inputs, and joins the walk with a multiplier >= 0, as in beta-CROWN (Wang et al. 2021).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from calipers.bounds import maxlin
from calipers.bounds.backward import pull_back
from calipers.bounds.concretize import concretize, lowest_point, magnitude
from calipers.bounds.linear import Propagation
from calipers.bounds.maxima import ABSENT, Maxima, maxima
from calipers.bounds.relaxation import Relaxation
from calipers.bounds.rows import Rows
from calipers.bounds.splits import Halfspaces, Split
from calipers.bounds.window import Windows
from calipers.core.problem import Specification
from calipers.core.sets import InputSet
from calipers.graph.ops import Relu

_ULPS = 64


@dataclass(frozen=True, eq=False)
class Root:
    """What all subdomains share: a propagation over input sets, and the specification."""

    propagation: Propagation
    input_set: InputSet
    specification: Specification
    views: tuple[Maxima, ...]

    @classmethod
    def of(cls, propagation: Propagation, input_set: InputSet, specification: Specification) -> "Root":
        propagation.graph.require_order(specification.C, specification.d)
        return cls(propagation, input_set, specification, maxima(propagation.graph))

    @property
    def candidates(self) -> int:
        """Candidates of all maxima together: the size of a subdomain."""
        return sum(view.candidates * view.outputs for view in self.views)


@dataclass(frozen=True, eq=False)
class Ceiling:
    """One maximum on a batch of subdomains: which candidates can win, their bounds, and MaxLin's plane above.

    lower, upper, alive: (batch, candidates, outputs). slope: (batch, pixels, outputs). bias: (batch, outputs).
    """

    lower: Tensor
    upper: Tensor
    alive: Bool[Tensor, "batch candidates outputs"]
    slope: Float[Tensor, "batch pixels outputs"]
    bias: Float[Tensor, "batch outputs"]

    @classmethod
    def of(cls, view: Maxima, lower: Tensor, upper: Tensor, halfspaces: Halfspaces) -> "Ceiling":
        low, high = view.spread(lower), view.spread(upper)
        if len(halfspaces):
            gone = (halfspaces.domain, halfspaces.candidate, halfspaces.output)
            low[gone] = ABSENT
            high[gone] = ABSENT
            # Where splits contradict each other the subdomain is empty, and anything is true of it.
            high = torch.maximum(high, low)
        best, winner = low.max(1, keepdim=True)
        alive = (high > best).scatter_(1, winner, True)
        high = high.masked_fill(~alive, ABSENT)
        windows = Windows(low, high, view.pixels)
        return cls(low, high, alive, *windows.plane(*maxlin.upper_plane(windows)))


@dataclass(frozen=True, eq=False)
class Variables:
    """Dual variables of a batch of subdomains. Any values are sound: below is a simplex over what is alive.

    below: by position, weights of the candidates in the plane below, (batch, candidates, outputs). multiplier: of each
    subdomain's splits, (batch, most splits), >= 0.
    """

    below: Mapping[int, Tensor]
    multiplier: Float[Tensor, "batch slots"]


@dataclass(frozen=True, eq=False)
class Walk:
    """One walk: a lower bound, its rounding allowance, the point that attains it, and what reached every
    nonlinearity.

    coefficient: by position, of the nonlinearity's outputs, (batch, outputs).
    """

    lower: Float[Tensor, " batch"]
    slack: Float[Tensor, " batch"]
    lowest: Float[Tensor, "batch *shape"]
    coefficient: Mapping[int, Tensor]


@dataclass(frozen=True, eq=False)
class Subdomains:
    """A batch of them. image: of the root. row: of its specification. splits: of each subdomain."""

    root: Root
    image: Int[Tensor, " batch"]
    row: Int[Tensor, " batch"]
    splits: Sequence[Sequence[Split]]
    halfspaces: Mapping[int, Halfspaces]
    ceilings: Mapping[int, Ceiling]
    fixed: Mapping[int, Relaxation]

    @classmethod
    def of(cls, root: Root, image: Tensor, row: Tensor, splits: Sequence[Sequence[Split]]) -> "Subdomains":
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
            ceilings[view.position] = Ceiling.of(view, *inputs[view.source], halfspaces[view.position])
        relaxations = root.propagation.relaxations
        fixed = {position: r.at(image) for position, r in relaxations.items() if position not in ceilings}
        return cls(root, image, row, splits, halfspaces, ceilings, fixed)

    def __len__(self) -> int:
        return len(self.image)

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
            alive = self.ceilings[position].alive
            kept = weights.clamp_min(0) * alive
            total = kept.sum(1, keepdim=True)
            kept = torch.where(total > 1e-3, kept, alive.to(kept))
            cleaned[position] = kept / kept.sum(1, keepdim=True)
        return Variables(cleaned, multiplier.clamp_min(0))

    def walk(self, variables: Variables) -> Walk:
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
                    halfspaces.subtract(coefficient, constant, share)
                    rows = replace(
                        rows, coefficient=coefficient.reshape(rows.coefficient.shape), constant=constant[None, :, None]
                    )
            return rows

        C = self.root.specification.C[self.image, self.row].unsqueeze(1)
        d = self.root.specification.d[self.image, self.row].reshape(1, -1, 1)
        rows = Rows(C, d, torch.arange(len(self)), None, (C.shape[-1],))
        at_input = pull_back(graph, graph.output, rows, self.planes(variables), visit=visit)[0]
        sets = self.root.input_set[self.image]
        box = sets.box()
        return Walk(
            concretize(sets, at_input)[0, :, 0],
            _ULPS * torch.finfo(box.lower.dtype).eps * magnitude(box, at_input)[:, 0],
            lowest_point(sets, at_input.coefficient[:, 0]),
            coefficients,
        )

    def planes(self, variables: Variables) -> dict[int, Relaxation]:
        """The planes of every nonlinearity that the variables mean."""
        planes = dict(self.fixed)
        for view in self.root.views:
            ceiling, below = self.ceilings[view.position], variables.below[view.position]
            shape = self.root.propagation.graph.nodes[view.position].shape
            bias = torch.zeros_like(ceiling.bias) if view.floor is None else below[:, -1] * view.floor
            windowed = not isinstance(self.root.propagation.graph.nodes[view.position].op, Relu)
            slopes = (below[:, : view.pixels], ceiling.slope)
            lower, upper = (s.unflatten(2, shape) if windowed else s[:, 0].unflatten(1, shape) for s in slopes)
            planes[view.position] = Relaxation(lower, bias.unflatten(1, shape), upper, ceiling.bias.unflatten(1, shape))
        return planes

    def response(self, variables: Variables, walk: Walk) -> list[Tensor]:
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
                below = (variables.below[position] * laid.masked_fill(~ceiling.alive, 0.0)).sum(1)
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
