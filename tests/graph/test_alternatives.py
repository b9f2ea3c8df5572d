"""Clauses of alternatives as the last layers of a network, and proofs of them: right, or rejected."""

import pytest
import torch
from torch import Tensor

from calipers.core.errors import InputError
from calipers.core.problem import Alternatives, Problem
from calipers.core.results import Verdict
from calipers.core.sets import Box
from calipers.graph.alternatives import every_clause, with_alternatives
from calipers.verify import Complete, Limits
from tests.limits import NEVER
from tests.nets import FAMILIES, random_graph


def random_clauses(seed: int, inputs: int) -> Alternatives:
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    return Alternatives.of([(draw(rows, 3), draw(rows, inputs) * (seed % 2), draw(rows)) for rows in (2, 1, 3)])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("family", FAMILIES)
def test_outputs_are_the_best_row_of_every_clause(family: str, seed: int) -> None:
    graph = random_graph(family, 3)
    inputs = torch.Size(graph.input_shape).numel()
    asked = random_clauses(seed, inputs)
    x = torch.rand(20, *graph.input_shape, dtype=torch.float64)
    found = with_alternatives(graph, asked).evaluate(x)
    assert found.shape == (20, 3)
    assert torch.allclose(found, asked.margins(x.flatten(1), graph.evaluate(x).flatten(1)))


def right_or_rejected(label: int, threshold: float, inputs: int) -> Alternatives:
    """The label beats the third output's rival, or output 2, the rejection, exceeds the threshold."""
    rows = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    rows[0] = torch.tensor([1.0, -1.0, 0.0]) * (1 if label == 0 else -1)
    nothing = torch.zeros(2, inputs, dtype=torch.float64)
    return Alternatives.of([(rows, nothing, torch.tensor([0.0, -threshold], dtype=torch.float64))])


@pytest.mark.parametrize("seed", range(4))
def test_right_or_rejected_is_decided_as_samples_say(seed: int) -> None:
    graph = random_graph("mlp", seed)
    inputs = torch.Size(graph.input_shape).numel()
    center = torch.rand(1, *graph.input_shape, dtype=torch.float64)
    box = Box(center - 0.05, center + 0.05)
    y = graph.evaluate(center)[0]
    label, decided = int(y[:2].argmax()), []
    points = box.lower + torch.rand(4000, *graph.input_shape, dtype=torch.float64) * (box.upper - box.lower)
    for threshold in (float(y[2]) - 10, float(y[2]), float(y[2]) + 10):
        asked = right_or_rejected(label, threshold, inputs)
        held = asked.margins(points.flatten(1), graph.evaluate(points)) > 0
        whole = with_alternatives(graph, asked).to(torch.float64)
        spec = every_clause(1, 1)
        spec = type(spec)(spec.C.double(), spec.d.double())
        found = Complete(Limits(timeout=NEVER)).verify(whole, Problem("net", (0,), box, spec))
        (verdict,) = found.verdicts
        decided.append(verdict)
        assert (verdict is not Verdict.VERIFIED) or bool(held.all())
        if verdict is Verdict.FALSIFIED:
            witness = found.witness[0]
            assert witness is not None
            assert float(asked.margins(witness.flatten(1).double(), graph.evaluate(witness.double()))) <= 0
    # With everything rejected there is nothing to be wrong about.
    assert decided[0] is Verdict.VERIFIED


def test_a_clause_without_rows_is_refused() -> None:
    with pytest.raises(InputError, match="can never hold"):
        Alternatives.of([(torch.zeros(0, 3), torch.zeros(0, 2), torch.zeros(0))])
