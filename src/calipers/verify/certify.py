"""Certificates: evidence for a proof in a form that the checker can follow, and checked before it is given."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from calipers.bounds import FUSED, LinearBounds, OutOfTimeError, WorkBudget
from calipers.bounds.precision import doubled
from calipers.bounds.propagation.linear import specification_bounds
from calipers.check import Certificate, Claim, Halving, Leaf, Network, Part, RejectedError, check, check_part
from calipers.core.devices import moved
from calipers.core.problem import Problem
from calipers.core.sets import Box, LpBall
from calipers.graph.graph import Graph
from calipers.graph.rewrite import with_maxima
from calipers.verify.branching.input_search import InputSearch
from calipers.verify.branching.journal import Journal, slopes_of
from calipers.verify.branching.split_search import SplitSearch
from calipers.verify.verifier import Limits

# Parts for an instance; none where nothing was proven.
Evidence = Callable[[Graph, Problem, WorkBudget], tuple[Part, ...]]
# Halves that are bounded at once.
_HALVED = 64


@dataclass(frozen=True)
class Certifier:
    """Tries linear bounds first, then the searches, at last in double precision.

    Whatever the checker accepts is a certificate.
    cheap: evidence that is quick to check.
    """

    limits: Limits = field(default_factory=Limits)
    cheap: LinearBounds = FUSED
    inputs: InputSearch = field(default_factory=InputSearch)
    splits: SplitSearch = field(default_factory=SplitSearch)

    def certify(self, graph: Graph, problem: Problem, about: Mapping[str, Any]) -> Certificate | None:
        """A certificate for one instance, or None if no evidence was found in time. about: what the claim is about.

        It is made on the CPU, wherever the instance is, as it is checked there.
        """
        assert len(problem) == 1
        graph, problem = with_maxima(graph.to(device="cpu")), moved(problem, "cpu")
        network = network_of(graph)
        budget = self.limits.budget.until(time.monotonic() + self.limits.timeout)
        claim = claim_of(network, problem, about)
        with torch.no_grad():
            for evidence, asked_of, asked in self._stages(graph, problem):
                try:
                    parts = evidence(asked_of, asked, budget)
                    certificate = _accepted(claim, network, parts)
                    if certificate is None and parts and parts[0].halvings:
                        certificate = _accepted(
                            claim, network, self._halved(asked_of, asked, claim, network, parts, budget)
                        )
                except OutOfTimeError:
                    return None
                if certificate is not None:
                    return certificate
        return None

    def _stages(self, graph: Graph, problem: Problem) -> Iterator[tuple[Evidence, Graph, Problem]]:
        yield self._linear, graph, problem
        yield self._searched, graph, problem
        # What single precision is too coarse for may be decided in double.
        if problem.specification.d.dtype != torch.float64:
            yield self._searched, graph.to(torch.float64), doubled(problem)

    def _halved(
        self,
        graph: Graph,
        problem: Problem,
        claim: Claim,
        network: Network,
        parts: tuple[Part, ...],
        budget: WorkBudget,
    ) -> tuple[Part, ...]:
        """Boxes that the checker rejects by themselves, halved at their longest side until it accepts their halves.

        No part at all where a box cannot be halved any more. Raises OutOfTimeError.
        """
        box, accepted = problem.input_set.box(), []
        pending = list(parts)
        while pending:
            rejected = []
            for part in pending:
                budget.check()
                try:
                    check_part(part, claim, network)
                    accepted.append(part)
                except RejectedError:
                    rejected.append(part)
            halvings = [found for part in rejected for found in _halves(box, part)]
            if len(halvings) < 2 * len(rejected):
                return ()
            pending = []
            for start in range(0, len(halvings), _HALVED):
                pending += self._parts(graph, problem, halvings[start : start + _HALVED], budget)
        return tuple(accepted)

    def _parts(
        self, graph: Graph, problem: Problem, boxes: list[tuple[Halving, ...]], budget: WorkBudget
    ) -> list[Part]:
        """One part for each box, with planes of its own."""
        sides = [_cut_out(problem.input_set.box(), halvings) for halvings in boxes]
        whole = Box(*(torch.stack(side).reshape(-1, *graph.input_shape) for side in zip(*sides, strict=True)))
        relaxations = self.cheap.propagate(graph, whole, budget).relaxations
        found = []
        for i, halvings in enumerate(boxes):
            slopes = slopes_of(relaxations, i)
            found.append(Part(halvings, slopes, (Leaf(_all(problem), (), np.zeros(0), slopes),)))
        return found

    def _linear(self, graph: Graph, problem: Problem, budget: WorkBudget) -> tuple[Part, ...]:
        propagation = self.cheap.propagate(graph, problem.input_set, budget)
        bounds = specification_bounds(propagation, problem.input_set, problem.specification, budget)
        if not bool(bounds.proven.all()):
            return ()
        slopes = slopes_of(propagation.relaxations, 0)
        return (Part((), slopes, (Leaf(_all(problem), (), np.zeros(0), slopes),)),)

    def _searched(self, graph: Graph, problem: Problem, budget: WorkBudget) -> tuple[Part, ...]:
        journal = Journal()
        rows = list(_all(problem))
        if self.inputs.suits(problem.input_set):
            found = self.inputs.run(graph, problem, rows, budget, journal)
            leaves = [(part, replace(part.leaves[0], rows=_all(problem))) for part in journal.parts]
            return tuple(replace(part, leaves=(leaf,)) for part, leaf in leaves) if found.proven else ()
        found = self.splits.run(graph, problem, rows, budget, journal)
        return tuple(journal.parts) if found.proven else ()


def _accepted(claim: Claim, network: Network, parts: tuple[Part, ...]) -> Certificate | None:
    """The certificate that the parts are, if the checker accepts it: its bounds are looser than those of a search."""
    if not parts:
        return None
    certificate = Certificate(claim, parts)
    try:
        check(certificate, network)
    except RejectedError:
        return None
    return certificate


def network_of(graph: Graph) -> Network:
    """What the checker sees of a graph: functions with bends are maxima there."""
    return Network.of(with_maxima(graph).nodes, softmax=graph.tail is not None)


def claim_of(network: Network, problem: Problem, about: Mapping[str, Any]) -> Claim:
    """What is claimed of one instance. Raises ValueError for a set that certificates cannot describe."""
    input_set, spec = problem.input_set, problem.specification
    C, d = _number(spec.C[0]), _number(spec.d[0])
    match input_set:
        case Box():
            sides = _number(input_set.lower[0]), _number(input_set.upper[0])
            return Claim(network.digest, "box", *sides, 0.0, None, C, d, about)
        case LpBall():
            center = _number(input_set.center[0])
            scale = np.array(np.broadcast_to(_number(input_set.scale), center.shape))
            radius = float(input_set.radius[0])
            norm = input_set.norm.value
            return Claim(network.digest, norm, center, scale, radius, input_set.domain, C, d, about)
        case _:
            raise ValueError(f"certificates know boxes and balls, not {type(input_set).__name__}")


def _halves(box: Box, part: Part) -> list[tuple[Halving, ...]]:
    """Both halves of a part's box at its longest side; none where no number lies between the ends."""
    lower, upper = _cut_out(box, part.halvings)
    axis = int((upper - lower).argmax())
    cut = lower[axis] / 2 + upper[axis] / 2
    if not bool((lower[axis] < cut) & (cut < upper[axis])):
        return []
    return [(*part.halvings, Halving(axis, float(cut), high)) for high in (False, True)]


def _cut_out(box: Box, halvings: tuple[Halving, ...]) -> tuple[Tensor, Tensor]:
    """The flat sides of what halvings leave of a box."""
    lower, upper = box.lower.flatten().clone(), box.upper.flatten().clone()
    for halving in halvings:
        (lower if halving.high else upper)[halving.axis] = halving.cut
    return lower, upper


def _all(problem: Problem) -> tuple[int, ...]:
    return tuple(range(problem.specification.d.shape[1]))


def _number(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()
