"""Verification in stages under one clock: attacks, cheap bounds and a search of what they leave."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from calipers.attacks import Attack, run_attack
from calipers.attacks.attack import norm_of
from calipers.bounds import BoundMethod, MarginBounds, OutOfTimeError, WorkBudget
from calipers.bounds.precision import refined_margins
from calipers.core.problem import Problem
from calipers.core.results import Termination, Verdict, VerificationResult
from calipers.graph.graph import Graph, GraphModule
from calipers.verify.bound import out_of_memory
from calipers.verify.branching.result import SearchResult
from calipers.verify.verifier import Limits

WITHIN_ROUNDING = (
    "nothing is left to try: neither a proof for every floating-point evaluation nor an input that breaks it was "
    "found; what is left is usually a boundary within rounding"
)
# Searches the given rows of one instance within a budget.
Search = Callable[[Graph, Problem, list[int], WorkBudget], SearchResult]


@dataclass(frozen=True)
class Stages:
    """before: attacks all instances. cheap: bounds what they leave, `after` attacks that. search: decides the rest."""

    limits: Limits
    before: tuple[Attack, ...]
    cheap: BoundMethod
    after: tuple[Attack, ...]
    search: Search

    def verify(
        self, method: str, graph: Graph, problem: Problem, original: nn.Module | None = None
    ) -> VerificationResult:
        """VERIFIED, FALSIFIED with a witness, or UNKNOWN when time is up or nothing is left to try."""
        start, begun = time.perf_counter(), time.monotonic()
        end = begun + self.limits.total
        answers = [_Answer.nothing(problem, i) for i in range(len(problem))]
        model = GraphModule(graph) if original is None else original
        model = _UntilDeadline(model, self.limits.budget.until(min(end, begun + self.limits.timeout * len(problem))))
        self._attacked(self.before, model, problem, answers)
        left = _unknown(answers)
        if left:
            patience = min(end, begun + self.limits.timeout * len(problem))
            bounds = self._bounded(graph, problem[left], patience)
            for k, i in enumerate(left):
                answers[i] = answers[i].bounded(bounds, k)
        self._attacked(self.after, model, problem, answers)
        shared = (time.perf_counter() - start) / len(problem)
        for i, answer in enumerate(answers):
            taken = time.perf_counter()
            if answer.verdict is Verdict.UNKNOWN:
                deadline = min(time.monotonic() + self.limits.timeout, end)
                answer = self._decide(graph, problem[i : i + 1], answer, deadline)
            answers[i] = answer.after(shared + time.perf_counter() - taken)
        return VerificationResult(
            method=method,
            verdicts=tuple(answer.verdict for answer in answers),
            lower=torch.stack([answer.lower for answer in answers]),
            witness=tuple(answer.witness for answer in answers),
            seconds=tuple(answer.seconds for answer in answers),
            terminations=tuple(answer.termination for answer in answers),
            reasons=tuple(answer.reason for answer in answers),
        )

    def _attacked(
        self, attacks: tuple[Attack, ...], model: nn.Module, problem: Problem, answers: list["_Answer"]
    ) -> None:
        """Put witnesses among the answers that are not known."""
        # Without an attack for the norm, the points that the search meets are the only candidates.
        for attack in (attack for attack in attacks if norm_of(problem) in attack.norms):
            left = _unknown(answers)
            if not left:
                return
            try:
                attacked = run_attack(attack, model, problem[left], seed=0)
            except OutOfTimeError:
                return
            broken = attacked.success.tolist()
            for k, i in enumerate(left):
                if broken[k]:
                    answers[i] = answers[i].refuted(attacked.adversarial[k : k + 1])

    def _bounded(self, graph: Graph, problem: Problem, deadline: float) -> MarginBounds:
        budget = self.limits.budget.until(deadline)
        try:
            with torch.no_grad():
                return refined_margins(self.cheap, graph, problem.input_set, problem.specification, budget)
        except OutOfTimeError:
            nothing = torch.full_like(problem.specification.d, -torch.inf)
            return MarginBounds(nothing)

    def _decide(self, graph: Graph, problem: Problem, answer: "_Answer", deadline: float) -> "_Answer":
        try:
            with torch.no_grad():
                found = self.search(graph, problem, answer.open, self.limits.budget.until(deadline))
        except OutOfTimeError:
            return answer.stopped(Termination.TIMEOUT)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            return answer.stopped(Termination.OUT_OF_MEMORY)
        return answer.with_found(found)


class _UntilDeadline(nn.Module):
    """A model that raises OutOfTimeError after a deadline, so that attacks, which know no clock, end there."""

    def __init__(self, model: nn.Module, budget: WorkBudget) -> None:
        super().__init__()
        self.model = model
        self._budget = budget

    def forward(self, x: Tensor) -> Tensor:
        self._budget.check()
        return self.model(x)


def _unknown(answers: list["_Answer"]) -> list[int]:
    return [i for i, answer in enumerate(answers) if answer.verdict is Verdict.UNKNOWN]


@dataclass(frozen=True, eq=False)
class _Answer:
    """What is known about one instance so far."""

    verdict: Verdict
    lower: Tensor
    open: list[int]
    witness: Tensor | None = None
    seconds: float = 0.0
    termination: Termination = Termination.COMPLETED

    @property
    def reason(self) -> str:
        """Why it is not known although nothing is left to try."""
        return WITHIN_ROUNDING if self.verdict is Verdict.UNKNOWN and self.termination is Termination.COMPLETED else ""

    @classmethod
    def nothing(cls, problem: Problem, i: int) -> "_Answer":
        """What is known before anything was tried."""
        rows = problem.specification.d[i]
        return cls(Verdict.UNKNOWN, torch.full_like(rows, -torch.inf), list(range(len(rows))))

    def bounded(self, bounds: MarginBounds, k: int) -> "_Answer":
        """What the cheap bounds say, in their place k."""
        open_ = (~(bounds.lower[k] > 0)).nonzero()[:, 0].tolist()
        verdict = Verdict.UNKNOWN if open_ else Verdict.VERIFIED
        return replace(
            self, verdict=verdict, lower=bounds.lower[k].nan_to_num(-torch.inf, torch.inf, -torch.inf), open=open_
        )

    def refuted(self, witness: Tensor) -> "_Answer":
        return replace(self, verdict=Verdict.FALSIFIED, witness=witness)

    def stopped(self, termination: Termination) -> "_Answer":
        return replace(self, termination=termination)

    def after(self, seconds: float) -> "_Answer":
        return replace(self, seconds=seconds)

    def with_found(self, found: SearchResult) -> "_Answer":
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
        return replace(answer, verdict=Verdict.VERIFIED) if found.proven else answer
