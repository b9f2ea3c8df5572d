"""What comes of a search's findings."""

import pytest
import torch

from calipers.attacks import FGSM
from calipers.bounds import IBP
from calipers.core.norms import Norm
from calipers.core.problem import Problem, Specification
from calipers.core.results import Termination, Verdict
from calipers.core.sets import LpBall
from calipers.verify import Resources
from calipers.verify.found import Found
from calipers.verify.stages import Stages
from tests.nets import random_graph

UNKNOWN = Verdict.UNKNOWN


def ask(answer: Found | Exception, shift: float = -0.01):
    """One row, whose smallest value is near `shift`, in an l1 ball, for which there is no attack."""
    graph = random_graph("mlp", 0, torch.float32)
    x = torch.full((1, *graph.input_shape), 0.5)
    row = torch.tensor([[[1.0, 0.0, 0.0]]])
    ball = LpBall(x, torch.zeros(1), Norm.L1, torch.ones(()), None)
    asked = Specification(row, shift - graph.evaluate(x)[:, :1])
    seen = []

    def search(graph, problem, rows, deadline) -> Found:
        seen.append(rows)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Stages(Resources(), IBP, FGSM(), search).verify("scripted", graph, Problem("net", (0,), ball, asked)), seen


@pytest.mark.parametrize(
    ("found", "verdict", "termination"),
    [
        (Found({0: torch.inf}, None, 1, True), Verdict.VERIFIED, Termination.COMPLETED),
        (Found({0: -0.001}, None, 1, True), UNKNOWN, Termination.COMPLETED),
        (Found({0: -0.001}, None, 1, False), UNKNOWN, Termination.TIMEOUT),
        (Found({0: -torch.inf}, None, 1, False, failed=True), UNKNOWN, Termination.ERROR),
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
    result, _ = ask(Found({}, witness, 1, False))
    assert result.verdicts == (Verdict.FALSIFIED,)
    assert result.witness[0] is witness


def test_what_the_cheap_bounds_prove_is_not_searched() -> None:
    result, seen = ask(Found({}, None, 1, True), shift=1.0)
    assert seen == []
    assert result.verdicts == (Verdict.VERIFIED,)


def test_other_failures_are_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="boom"):
        ask(RuntimeError("boom"))
