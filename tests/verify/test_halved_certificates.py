from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from calipers.bounds import WorkBudget
from calipers.check import Certificate, Leaf, Part, RejectedError, check
from calipers.core.problem import Problem, Specification
from calipers.core.sets import Box
from calipers.graph.from_torch import graph_of
from calipers.graph.graph import Graph
from calipers.verify import Certifier
from calipers.verify.branching.input_search import InputSearch
from calipers.verify.branching.journal import Journal
from calipers.verify.branching.result import SearchResult
from calipers.verify.certify import claim_of, network_of


@dataclass(frozen=True)
class _Loose(InputSearch):
    """A search whose evidence is worth less than it says: every second box has flat planes."""

    def run(
        self, graph: Graph, problem: Problem, rows: list[int], budget: WorkBudget, journal: Journal | None = None
    ) -> SearchResult:
        found = super().run(graph, problem, rows, budget, journal)
        assert journal is not None
        for k in range(0, len(journal.parts), 2):
            part = journal.parts[k]
            slopes = {p: type(s)(0 * s.below, 0 * s.above) for p, s in part.slopes.items()}
            journal.parts[k] = Part(part.halvings, slopes, (Leaf((), (), np.zeros(0), slopes),))
        return found


def test_boxes_whose_evidence_the_checker_rejects_are_halved_until_it_accepts_them() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1)).eval()
    graph = graph_of(model, torch.zeros(1, 2))
    ticks = torch.linspace(-1, 1, 101)
    least = float(model(torch.cartesian_prod(ticks, ticks)).detach().min())
    sides = Box(-torch.ones(1, 2), torch.ones(1, 2))
    problem = Problem("", (0,), sides, Specification(torch.ones(1, 1, 1), torch.full((1, 1), 0.02 - least)))
    plain, loose = Certifier().certify(graph, problem, {}), Certifier(inputs=_Loose()).certify(graph, problem, {})
    assert plain is not None
    assert loose is not None
    assert len(loose.parts) > len(plain.parts) > 1
    network = network_of(graph)
    assert check(loose, network) > 0
    with pytest.raises(RejectedError, match="do not cover"):
        check(Certificate(claim_of(network, problem, {}), loose.parts[1:]), network)
