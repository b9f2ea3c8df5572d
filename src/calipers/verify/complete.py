"""Verification that goes on until it knows: cheap bounds, an attack, then branch and bound, under one clock."""

import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from calipers.attacks import PGD, Attack, run_attack
from calipers.attacks.attack import norm_of
from calipers.bounds import COMBINED, PAIRED, BoundMethod, LinearBounds, MarginBounds
from calipers.bounds.subdomains import Root
from calipers.core.problem import Problem
from calipers.core.results import Termination, Verdict, VerificationResult
from calipers.graph.graph import Graph, GraphModule
from calipers.verify.bound import out_of_memory
from calipers.verify.found import Found
from calipers.verify.input_search import InputSearch
from calipers.verify.search import Search
from calipers.verify.verifier import VERIFIERS, Resources


@dataclass(frozen=True)
class Complete:
    """VERIFIED, FALSIFIED with a witness, or UNKNOWN when time is up or nothing is left to split.

    cheap: bounds all instances first. attack: then looks for witnesses. inputs: searches sets of few inputs; search:
    all others, from the bounds of inner neurons by `base`.
    """

    resources: Resources = field(default_factory=Resources)
    cheap: BoundMethod = COMBINED
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
        start = time.perf_counter()
        end = time.monotonic() + self.resources.total
        with torch.no_grad():
            bounds = self.cheap.margins(graph, problem.input_set, problem.specification, self.resources.memory)
        answers = [_Answer.proven(bounds, i) for i in range(len(problem))]
        left = [i for i, answer in enumerate(answers) if answer.verdict is Verdict.UNKNOWN]
        # Without an attack for the norm, the points that attain the search's bounds are the only candidates.
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
            method=self.name,
            verdicts=tuple(answer.verdict for answer in answers),
            lower=torch.stack([answer.lower for answer in answers]),
            slack=bounds.slack.amax(1),
            witness=tuple(answer.witness for answer in answers),
            seconds=tuple(answer.seconds for answer in answers),
            terminations=tuple(answer.termination for answer in answers),
        )

    def _decide(self, graph: Graph, problem: Problem, answer: "_Answer", deadline: float) -> "_Answer":
        memory = self.resources.memory
        try:
            with torch.no_grad():
                if self.inputs.suits(problem.input_set):
                    found = self.inputs.run(graph, problem, answer.open, memory, deadline)
                else:
                    propagation = self.base.propagate(graph, problem.input_set, memory)
                    root = Root.of(propagation, problem.input_set, problem.specification)
                    found = self.search.run(root, answer.open, memory, deadline)
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
        if not found.exhausted:
            return answer.stopped(Termination.TIMEOUT)
        proven = all(bound == torch.inf for bound in found.lower.values())
        return replace(answer, verdict=Verdict.VERIFIED) if proven else answer


VERIFIERS.add("complete")(Complete)
