from dataclasses import dataclass, replace

import torch
from torch import nn

from calipers.bounds import WorkBudget
from calipers.check import check
from calipers.core.problem import Problem, Specification
from calipers.core.sets import Box
from calipers.graph.from_torch import graph_of
from calipers.graph.graph import Graph
from calipers.verify import Certifier
from calipers.verify.branching.input_search import InputSearch
from calipers.verify.branching.journal import Journal
from calipers.verify.branching.result import SearchResult
from calipers.verify.certify import network_of


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


def test_what_single_precision_leaves_open_is_searched_again_in_double() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1)).eval()
    graph = graph_of(model, torch.zeros(1, 2))
    box = Box(-torch.ones(1, 2), torch.ones(1, 2))
    axis = torch.linspace(-1, 1, 101)
    least = float(model(torch.cartesian_prod(axis, axis)).detach().min())
    # Above what one pass of linear bounds proves.
    asked = Problem("net", (0,), box, Specification(torch.ones(1, 1, 1), torch.full((1, 1), 0.05 - least)))
    certificate = Certifier(inputs=_Coarse()).certify(graph, asked, {})
    assert certificate is not None
    assert len(certificate.parts) > 1
    assert check(certificate, network_of(graph)) > 0
