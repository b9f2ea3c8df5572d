"""Verification that goes on until it knows: cheap bounds, an attack, then branch and bound, under one clock."""

from dataclasses import asdict, dataclass, field
from typing import Any

from calipers.attacks import PGD, Attack
from calipers.bounds import FUSED, PAIRED, BoundMethod, Cascade, LinearBounds
from calipers.bounds.subdomains import Root
from calipers.core.problem import Problem
from calipers.core.results import VerificationResult
from calipers.graph.graph import Graph
from calipers.verify.found import Found
from calipers.verify.input_search import InputSearch
from calipers.verify.search import Search
from calipers.verify.stages import Stages
from calipers.verify.verifier import VERIFIERS, Resources

# The tightest; what other bounds prove beside them the search settles at once.
_CHEAP = Cascade("fused, paired", (FUSED, PAIRED))


@dataclass(frozen=True)
class Complete:
    """VERIFIED, FALSIFIED with a witness, or UNKNOWN when time is up or nothing is left to split.

    cheap: bounds all instances first. attack: then looks for witnesses. inputs: searches sets of few inputs; search:
    all others, from the bounds of inner neurons by `base`.
    """

    resources: Resources = field(default_factory=Resources)
    cheap: BoundMethod = _CHEAP
    attack: Attack = field(default_factory=PGD)
    inputs: InputSearch = field(default_factory=InputSearch)
    base: LinearBounds = PAIRED
    search: Search = field(default_factory=Search)

    @property
    def name(self) -> str:
        return "complete"

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "memory_bytes": self.resources.memory.bytes,
            "timeout": self.resources.timeout,
            "cheap": self.cheap.name,
            "attack": {"name": self.attack.name, **self.attack.parameters},
            "inputs": self.inputs.parameters,
            "base": self.base.name,
            "search": asdict(self.search),
        }

    def verify(self, graph: Graph, problem: Problem) -> VerificationResult:
        return Stages(self.resources, self.cheap, self.attack, self._search).verify(self.name, graph, problem)

    def _search(self, graph: Graph, problem: Problem, rows: list[int], deadline: float) -> Found:
        memory = self.resources.memory
        if self.inputs.suits(problem.input_set):
            return self.inputs.run(graph, problem, rows, memory, deadline)
        propagation = self.base.propagate(graph, problem.input_set, memory)
        root = Root.of(propagation, problem.input_set, problem.specification)
        return self.search.run(root, rows, memory, deadline)


VERIFIERS.add("complete")(Complete)
