"""What comes of a search's findings."""

import pytest
import torch

from calipers.attacks import FGSM
from calipers.bounds import IBP, MarginBounds, OutOfTimeError, WorkBudget
from calipers.core.norms import Norm
from calipers.core.problem import Problem, Specification
from calipers.core.results import Termination, Verdict
from calipers.core.sets import Box, LpBall
from calipers.verify import Limits
from calipers.verify.branching.result import SearchResult
from calipers.verify.stages import Stages
from tests.nets import random_graph

UNKNOWN = Verdict.UNKNOWN


def ask(answer: SearchResult | Exception, shift: float = -0.01):
    """One row, whose smallest value is near `shift`, in an l1 ball, for which there is no attack."""
    graph = random_graph("mlp", 0, torch.float32)
    x = torch.full((1, *graph.input_shape), 0.5)
    row = torch.tensor([[[1.0, 0.0, 0.0]]])
    ball = LpBall(x, torch.zeros(1), Norm.L1, torch.ones(()), None)
    asked = Specification(row, shift - graph.evaluate(x)[:, :1])
    seen = []

    def search(graph, problem, rows, budget) -> SearchResult:
        seen.append(rows)
        if isinstance(answer, Exception):
            raise answer
        return answer

    stages = Stages(Limits(), (FGSM(),), IBP, (FGSM(),), search)
    return stages.verify("scripted", graph, Problem("net", (0,), ball, asked)), seen


@pytest.mark.parametrize(
    ("found", "verdict", "termination"),
    [
        (SearchResult({0: torch.inf}, None, 1, True), Verdict.VERIFIED, Termination.COMPLETED),
        (SearchResult({0: -0.001}, None, 1, True), UNKNOWN, Termination.COMPLETED),
        (SearchResult({0: -0.001}, None, 1, False), UNKNOWN, Termination.TIMEOUT),
        (SearchResult({0: -torch.inf}, None, 1, False, failed=True), UNKNOWN, Termination.ERROR),
        (MemoryError(), UNKNOWN, Termination.OUT_OF_MEMORY),
    ],
)
def test_findings_become_answers(found, verdict: Verdict, termination: Termination) -> None:
    result, seen = ask(found)
    assert seen == [[0]]
    assert result.verdicts == (verdict,)
    assert result.terminations == (termination,)
    assert float(result.lower) <= 0


def test_a_witness_falsifies() -> None:
    witness = torch.full((1, 4), 0.5)
    result, _ = ask(SearchResult({}, witness, 1, False))
    assert result.verdicts == (Verdict.FALSIFIED,)
    assert result.witness[0] is witness


class Slow:
    """A bound that never ends in time."""

    name = "slow"

    def __init__(self) -> None:
        self.asked = 0

    def margins(self, graph, input_set, specification, budget: WorkBudget) -> MarginBounds:
        self.asked += len(specification)
        budget.until(0.0).check()
        raise AssertionError


@pytest.mark.parametrize(("shift", "verdict", "asked"), [(1.0, Verdict.UNKNOWN, 1), (-1.0, Verdict.FALSIFIED, 0)])
def test_bounds_that_take_too_long_leave_the_rest_to_the_search(shift: float, verdict: Verdict, asked: int) -> None:
    """They are not asked about what an attack breaks before."""
    graph = random_graph("mlp", 0, torch.float32)
    x = torch.full((1, *graph.input_shape), 0.5)
    row = torch.tensor([[[1.0, 0.0, 0.0]]])
    problem = Problem("net", (0,), Box(x - 0.01, x + 0.01), Specification(row, shift - graph.evaluate(x)[:, :1]))
    slow = Slow()

    def search(graph, problem, rows, budget) -> SearchResult:
        assert rows == [0]
        raise OutOfTimeError

    result = Stages(Limits(), (FGSM(),), slow, (FGSM(),), search).verify("scripted", graph, problem)
    assert slow.asked == asked
    assert result.verdicts == (verdict,)
    assert result.terminations == (Termination.COMPLETED if asked == 0 else Termination.TIMEOUT,)
    assert float(result.lower) == -torch.inf


def test_what_the_cheap_bounds_prove_is_not_searched() -> None:
    result, seen = ask(SearchResult({}, None, 1, True), shift=1.0)
    assert seen == []
    assert result.verdicts == (Verdict.VERIFIED,)


def test_other_failures_are_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="boom"):
        ask(RuntimeError("boom"))
