"""Incomplete verification: one sound bound decides."""

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from calipers.bounds import METHODS, BoundMethod, Limited, MarginBounds, WorkBudget
from calipers.bounds.precision import refined_margins
from calipers.core.problem import Problem
from calipers.core.results import Termination, Verdict, VerificationResult
from calipers.core.sets import InputSet
from calipers.graph.graph import Graph
from calipers.verify.verifier import VERIFIERS, Limits


@dataclass(frozen=True)
class BoundVerifier:
    """VERIFIED where every lower bound is positive, with every rounding charged; else UNKNOWN."""

    bound: BoundMethod
    budget: WorkBudget = field(default_factory=WorkBudget)

    @classmethod
    def within(cls, bound: BoundMethod, limits: Limits) -> "BoundVerifier":
        """The verifier with the memory it may take; its time follows from the network."""
        return cls(bound, limits.budget)

    @property
    def name(self) -> str:
        return self.bound.name

    @property
    def parameters(self) -> dict[str, Any]:
        return {"memory_bytes": self.budget.bytes}

    @property
    def limits(self) -> Limits:
        """Its memory; its time follows from the network."""
        return Limits(self.budget)

    def limited(self, limits: Limits) -> "BoundVerifier":
        """See `Limitable`."""
        return replace(self, budget=limits.budget)

    def require(self, graph: Graph, input_set: InputSet) -> None:
        """Raise InputError for what the bound does not take."""
        if isinstance(self.bound, Limited):
            self.bound.require(graph, input_set, self.budget)

    def verify(self, graph: Graph, problem: Problem, original: nn.Module | None = None) -> VerificationResult:
        start = time.perf_counter()
        termination = Termination.COMPLETED
        try:
            with torch.no_grad():
                bounds = refined_margins(self.bound, graph, problem.input_set, problem.specification, self.budget)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            nothing = torch.full_like(problem.specification.d, -torch.inf)
            bounds, termination = MarginBounds(nothing), Termination.OUT_OF_MEMORY
        return VerificationResult(
            method=self.name,
            verdicts=tuple(Verdict.VERIFIED if yes else Verdict.UNKNOWN for yes in bounds.proven.tolist()),
            lower=bounds.lower,
            witness=(None,) * len(problem),
            seconds=((time.perf_counter() - start) / len(problem),) * len(problem),
            terminations=(termination,) * len(problem),
        )


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error)


for _name in METHODS:
    VERIFIERS.add(_name)(partial(BoundVerifier.within, METHODS[_name]))
