"""What a verifier is, and the names under which the command line finds one."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from calipers.bounds.budget import MemoryBudget
from calipers.core.problem import Problem
from calipers.core.registry import Registry
from calipers.core.results import VerificationResult
from calipers.graph.graph import Graph


@runtime_checkable
class Verifier(Protocol):
    """Proves specifications over input sets. VERIFIED is a claim; anything a verifier cannot prove is UNKNOWN."""

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that decides its answers, for the record."""

    def verify(self, graph: Graph, problem: Problem) -> VerificationResult: ...


# Each name makes a verifier within a memory budget.
VERIFIERS: Registry[Callable[[MemoryBudget], Verifier]] = Registry("verifier")
