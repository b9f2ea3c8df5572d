"""Verification in stages under one clock: cheap bounds of all instances, an attack on what is left, then a search."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from calipers.attacks import Attack, run_attack
from calipers.attacks.attack import norm_of
from calipers.bounds import BoundMethod, MarginBounds
from calipers.core.problem import Problem
from calipers.core.results import Termination, Verdict, VerificationResult
from calipers.graph.graph import Graph, GraphModule
from calipers.verify.bound import out_of_memory
from calipers.verify.found import Found
from calipers.verify.verifier import Resources

# Searches the given rows of one instance until a deadline on the clock of time.monotonic.
Search = Callable[[Graph, Problem, list[int], float], Found]


@dataclass(frozen=True)
class Stages:
    """cheap: bounds all instances first. attack: then looks for witnesses. search: decides each that is left."""

    resources: Resources
    cheap: BoundMethod
    attack: Attack
    search: Search

    def verify(self, method: str, graph: Graph, problem: Problem) -> VerificationResult:
        """VERIFIED, FALSIFIED with a witness, or UNKNOWN when time is up or nothing is left to try."""
        start = time.perf_counter()
        end = time.monotonic() + self.resources.total
        with torch.no_grad():
            bounds = self.cheap.margins(graph, problem.input_set, problem.specification, self.resources.memory)
        answers = [_Answer.proven(bounds, i) for i in range(len(problem))]
        left = [i for i, answer in enumerate(answers) if answer.verdict is Verdict.UNKNOWN]
        # Without an attack for the norm, the points that the search meets are the only candidates.
        if left and norm_of(problem) in self.attack.norms:
            attacked = run_attack(self.attack, GraphModule(graph), problem[left], seed=0)
            broken = attacked.success.tolist()
            for k, i in enumerate(left):
                if broken[k]:
                    answers[i] = answers[i].refuted(attacked.adversarial[k : k + 1])
        shared = (time.perf_counter() - start) / len(problem)
        for i, answer in enumerate(answers):
            begun = time.perf_counter()
            if answer.verdict is Verdict.UNKNOWN:
                deadline = min(time.monotonic() + self.resources.timeout, end)
                answer = self._decide(graph, problem[i : i + 1], answer, deadline)
            answers[i] = answer.after(shared + time.perf_counter() - begun)
        return VerificationResult(
            method=method,
            verdicts=tuple(answer.verdict for answer in answers),
            lower=torch.stack([answer.lower for answer in answers]),
            slack=bounds.slack.amax(1),
            witness=tuple(answer.witness for answer in answers),
            seconds=tuple(answer.seconds for answer in answers),
            terminations=tuple(answer.termination for answer in answers),
        )

    def _decide(self, graph: Graph, problem: Problem, answer: "_Answer", deadline: float) -> "_Answer":
        try:
            with torch.no_grad():
                found = self.search(graph, problem, answer.open, deadline)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            return answer.stopped(Termination.OUT_OF_MEMORY)
        return answer.with_found(found)


@dataclass(frozen=True, eq=False)
class _Answer:
    """What is known about one instance so far."""

    verdict: Verdict
    lower: Tensor
    open: list[int]
    witness: Tensor | None = None
    seconds: float = 0.0
    termination: Termination = Termination.COMPLETED

    @classmethod
    def proven(cls, bounds: MarginBounds, i: int) -> "_Answer":
        """What the cheap bounds say."""
        open_ = (~(bounds.lower[i] > bounds.slack[i])).nonzero()[:, 0].tolist()
        verdict = Verdict.UNKNOWN if open_ else Verdict.VERIFIED
        return cls(verdict, torch.nan_to_num(bounds.lower[i], nan=-torch.inf), open_)

    def refuted(self, witness: Tensor) -> "_Answer":
        return replace(self, verdict=Verdict.FALSIFIED, witness=witness)

    def stopped(self, termination: Termination) -> "_Answer":
        return replace(self, termination=termination)

    def after(self, seconds: float) -> "_Answer":
        return replace(self, seconds=seconds)

    def with_found(self, found: Found) -> "_Answer":
        """What the search adds. A row that it proved has a positive minimum, of which 0 is a bound."""
        lower = self.lower.clone()
        for row, bound in found.lower.items():
            lower[row] = max(float(lower[row]), min(bound, 0.0))
        answer = replace(self, lower=lower)
        if found.witness is not None:
            return answer.refuted(found.witness)
        if found.failed:
            return answer.stopped(Termination.ERROR)
        if not found.exhausted:
            return answer.stopped(Termination.TIMEOUT)
        proven = all(bound == torch.inf for bound in found.lower.values())
        return replace(answer, verdict=Verdict.VERIFIED) if proven else answer
