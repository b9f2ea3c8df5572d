from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class _Coarse(InputSearch):
    """A search for which single precision is too coarse: it leaves every row open there."""

    def run(
        self, graph: Graph, problem: Problem, rows: list[int], budget: WorkBudget, journal: Journal | None = None
    ) -> SearchResult:
        found = super().run(graph, problem, rows, budget, journal)
        return (
            found if problem.specification.d.dtype == torch.float64 else replace(found, lower=dict.fromkeys(rows, 0.0))
        )


def _instance(margin: float) -> tuple[Graph, Problem]:
    """A small network above whose least output on [-1, 1]^2 there is so much room."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1)).eval()
    ticks = torch.linspace(-1, 1, 101)
    least = float(model(torch.cartesian_prod(ticks, ticks)).detach().min())
    sides = Box(-torch.ones(1, 2), torch.ones(1, 2))
    specification = Specification(torch.ones(1, 1, 1), torch.full((1, 1), margin - least))
    return graph_of(model, torch.zeros(1, 2)), Problem("", (0,), sides, specification)


def test_boxes_whose_evidence_the_checker_rejects_are_halved_until_it_accepts_them() -> None:
    graph, problem = _instance(0.02)
    plain, loose = Certifier().certify(graph, problem, {}), Certifier(inputs=_Loose()).certify(graph, problem, {})
    assert plain is not None
    assert loose is not None
    assert len(loose.parts) > len(plain.parts) > 1
    network = network_of(graph)
    assert check(loose, network) > 0
    with pytest.raises(RejectedError, match="do not cover"):
        check(Certificate(claim_of(network, problem, {}), loose.parts[1:]), network)


def test_what_single_precision_leaves_open_is_searched_again_in_double() -> None:
    graph, problem = _instance(0.05)
    certificate = Certifier(inputs=_Coarse()).certify(graph, problem, {})
    assert certificate is not None
    assert len(certificate.parts) > 1
    assert check(certificate, network_of(graph)) > 0
