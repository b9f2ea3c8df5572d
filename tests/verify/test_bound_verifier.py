import pytest
import torch

from calipers.bounds.method import MarginBounds
from calipers.core.problem import Problem, Specification
from calipers.core.results import Termination, Verdict
from calipers.core.sets import Box
from calipers.verify import BoundVerifier
from tests.nets import random_graph


class Scripted:
    """A bound method that answers what it is told."""

    name = "scripted"

    def __init__(self, answer: MarginBounds | Exception) -> None:
        self.answer = answer

    def margins(self, graph, input_set, specification, budget) -> MarginBounds:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def ask(answer: MarginBounds | Exception):
    graph = random_graph("mlp", 0, torch.float32)
    x = torch.zeros(2, *graph.input_shape)
    task = Problem("net", (0, 1), Box(x, x), Specification.classified_as(torch.tensor([0, 1]), 3))
    return BoundVerifier(Scripted(answer)).verify(graph, task)


def test_a_bound_that_is_not_positive_proves_nothing() -> None:
    lower = torch.tensor([[0.5, -9.0], [0.5, 0.1]])
    assert ask(MarginBounds(lower)).verdicts == (Verdict.UNKNOWN, Verdict.VERIFIED)


def test_nan_proves_nothing() -> None:
    lower = torch.tensor([[float("nan"), 1.0], [1.0, 1.0]])
    assert ask(MarginBounds(lower)).verdicts[0] is Verdict.UNKNOWN


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: not enough memory")])
def test_running_out_of_memory_is_an_outcome(error: Exception) -> None:
    result = ask(error)
    assert set(result.terminations) == {Termination.OUT_OF_MEMORY}
    assert set(result.verdicts) == {Verdict.UNKNOWN}


def test_other_failures_are_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="boom"):
        ask(RuntimeError("boom"))
