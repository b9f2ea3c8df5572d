"""What a verifier is, and the names under which the command line finds one."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from torch import nn

from calipers.bounds.budget import WorkBudget
from calipers.core.problem import Problem
from calipers.core.registry import Registry
from calipers.core.results import VerificationResult
from calipers.core.sets import InputSet
from calipers.graph.graph import Graph


@runtime_checkable
class Verifier(Protocol):
    """Proves specifications over input sets. VERIFIED is a claim; anything a verifier cannot prove is UNKNOWN."""

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that decides its answers, for the record."""

    def verify(self, graph: Graph, problem: Problem, original: nn.Module | None = None) -> VerificationResult:
        """Answers about the graph. original: the model that it was read from, which attacks run on; else the graph."""


@runtime_checkable
class RestrictedVerifier(Protocol):
    """A verifier of some networks and sets only; `verify` raises InputError where `require` does."""

    def require(self, graph: Graph, input_set: InputSet) -> None:
        """Raise InputError that names what is not accepted, and what would be."""


@dataclass(frozen=True)
class Limits:
    """What a verifier may spend. timeout: seconds per instance, total: per problem, for those that search."""

    budget: WorkBudget = field(default_factory=WorkBudget)
    timeout: float = 60.0
    total: float = math.inf

    def until(self, end: float) -> "Limits":
        """The same memory, and what is left until a time of the monotonic clock, for one instance and in all."""
        left = max(0.0, end - time.monotonic())
        return replace(self, timeout=left, total=left)


@runtime_checkable
class Limitable(Protocol):
    """A verifier that can be had with other limits."""

    @property
    def limits(self) -> Limits:
        """What it may spend."""

    def limited(self, limits: Limits) -> Verifier:
        """The same verifier that may spend these."""


# Each name makes a verifier within its limits.
VERIFIERS: Registry[Callable[[Limits], Verifier]] = Registry("verifier")
