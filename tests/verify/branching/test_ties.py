"""Where rounding decides, searches end with unknown by themselves; an input that breaks in earnest is still found.

The network is offset + |x_0 - x_1| - 100 max(0, x_0 - dip) beside a constant output of the offset: its margin is
`shift` on a whole diagonal, which halving boxes and splitting neurons would follow for ever.
"""

import pytest
import torch
from torch import nn

from calipers.bounds import WorkBudget
from calipers.core.problem import Problem, Specification
from calipers.core.results import Termination, Verdict, VerificationResult
from calipers.core.sets import Box
from calipers.graph.from_torch import from_module
from calipers.verify import Complete, Limits
from calipers.verify.branching.input_search import InputSearch
from calipers.verify.branching.ties import tied
from tests.limits import NEVER
from tests.nets import random_graph

OFFSET = 1e5
METHODS = {
    "inputs": Complete(Limits(timeout=NEVER)),
    "splits": Complete(Limits(timeout=NEVER), inputs=InputSearch(most=0)),
}


def network(dip: float) -> nn.Module:
    first, last = nn.Linear(2, 3), nn.Linear(3, 2)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, -1.0], [-1.0, 1.0], [1.0, 0.0]]))
        first.bias.copy_(torch.tensor([0.0, 0.0, -dip]))
        last.weight.copy_(torch.tensor([[1.0, 1.0, -100.0], [0.0, 0.0, 0.0]]))
        last.bias.fill_(OFFSET)
    return nn.Sequential(first, nn.ReLU(), last).eval()


def answer(method: str, shift: float, dip: float = 2.0) -> VerificationResult:
    graph = from_module(network(dip), torch.zeros(1, 2))
    box = Box(torch.zeros(1, 2), torch.ones(1, 2))
    asked = Specification(torch.tensor([[[1.0, -1.0]]]), torch.tensor([[shift]]))
    return METHODS[method].verify(graph, Problem("net", (0,), box, asked))


@pytest.mark.parametrize("method", METHODS)
def test_a_margin_within_rounding_ends_in_unknown(method: str) -> None:
    found = answer(method, 1e-3)
    assert found.verdicts == (Verdict.UNKNOWN,)
    assert found.terminations == (Termination.COMPLETED,)
    assert "within rounding" in found.reasons[0]


@pytest.mark.parametrize("method", METHODS)
def test_a_margin_beyond_rounding_is_proven(method: str) -> None:
    assert answer(method, 0.5).verdicts == (Verdict.VERIFIED,)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dip", [0.9, 0.99, 0.998])
def test_an_input_that_breaks_elsewhere_is_found(method: str, dip: float) -> None:
    found = answer(method, 1e-3, dip)
    assert found.verdicts == (Verdict.FALSIFIED,)


def test_a_tie_is_where_rounding_decides_and_nowhere_else() -> None:
    graph = from_module(network(2.0), torch.zeros(1, 2))
    point = torch.tensor([[0.5, 0.5]])

    def found(shift: float) -> bool:
        asked = Specification(torch.tensor([[[1.0, -1.0]]]), torch.tensor([[shift]]))
        return tied(graph, asked, point, WorkBudget())

    assert found(1e-3)
    assert not found(10.0)
    assert not found(-1.0)


@pytest.mark.parametrize("seed", range(3))
def test_no_ordinary_network_has_ties_beyond_single_precision(seed: int) -> None:
    graph = random_graph("mlp", seed)
    x = torch.rand(1, *graph.input_shape, dtype=torch.float64)
    row = torch.tensor([[[1.0, -1.0, 0.0]]], dtype=torch.float64)
    value = float((graph.evaluate(x) @ row[0].T).squeeze())
    assert not tied(graph, Specification(row, torch.tensor([[1e-2 - value]], dtype=torch.float64)), x, WorkBudget())
