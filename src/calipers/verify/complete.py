"""Verification that goes on until it knows: cheap bounds, an attack, then branch and bound, under one clock."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from calipers.attacks import PGD, Attack
from calipers.bounds import FUSED, PAIRED, BoundMethod, Cascade, WorkBudget
from calipers.bounds.precision import doubled
from calipers.core.problem import Problem
from calipers.core.results import VerificationResult
from calipers.graph.graph import Graph
from calipers.graph.rewrite import with_maxima
from calipers.verify.branching.input_search import InputSearch
from calipers.verify.branching.result import SearchResult
from calipers.verify.branching.split_search import SplitSearch
from calipers.verify.stages import Stages
from calipers.verify.verifier import VERIFIERS, Limits

_GLANCE = PGD(steps=10, restarts=1)
# The tightest; what other bounds prove beside them the search settles at once.
_CHEAP = Cascade("fused, paired", (FUSED, PAIRED))


@dataclass(frozen=True)
class Complete:
    """VERIFIED, FALSIFIED with a witness, or UNKNOWN when time is up or nothing is left to split.

    limits: memory, and seconds per instance and in all. glance: a few steps of an attack on all instances. cheap: then
    bounds them. attack: looks for witnesses where that does not do. inputs: searches sets of few
    inputs; splits: all others.
    """

    limits: Limits = field(default_factory=Limits)
    glance: Attack = _GLANCE
    cheap: BoundMethod = _CHEAP
    attack: Attack = field(default_factory=PGD)
    inputs: InputSearch = field(default_factory=InputSearch)
    splits: SplitSearch = field(default_factory=SplitSearch)

    @property
    def name(self) -> str:
        return "complete"

    def limited(self, limits: Limits) -> "Complete":
        """See `Limitable`."""
        return replace(self, limits=limits)

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "memory_bytes": self.limits.budget.bytes,
            "timeout": self.limits.timeout,
            "glance": {"name": self.glance.name, **self.glance.parameters},
            "cheap": self.cheap.name,
            "attack": {"name": self.attack.name, **self.attack.parameters},
            "inputs": self.inputs.parameters,
            "splits": self.splits.parameters,
        }

    def verify(self, graph: Graph, problem: Problem, original: nn.Module | None = None) -> VerificationResult:
        stages = Stages(self.limits, (self.glance,), self.cheap, (self.attack,), self._search)
        return stages.verify(self.name, graph, problem, original)

    def _search(self, graph: Graph, problem: Problem, rows: list[int], budget: WorkBudget) -> SearchResult:
        graph = with_maxima(graph)
        search = self.inputs.run if self.inputs.suits(problem.input_set) else self.splits.run
        found = search(graph, problem, rows, budget)
        if found.witness is None and found.exhausted and found.open and budget.left > 0:
            # Nothing is left to split: what single precision is too coarse for may be decided in double.
            again = search(graph.to(torch.float64), doubled(problem), found.open, budget)
            found = found.then(again)
            if found.witness is not None:
                point = problem.input_set.project(found.witness.to(problem.specification.d))
                found = replace(found, witness=point)
        return found


VERIFIERS.add("complete")(Complete)
