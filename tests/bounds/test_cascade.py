import pytest
import torch

from calipers.bounds import CAPM, COMBINED, CROWN, DEEPZ, FUSED, IBP, MAXLIN, Cascade, WorkBudget
from calipers.core.problem import Specification
from calipers.core.sets import InputSet
from calipers.graph.graph import Graph
from tests.nets import FAMILIES, NETWORKS, random_graph, random_set

BUDGET = WorkBudget()


def instance(family: str, seed: int) -> tuple[Graph, InputSet, Specification]:
    graph = random_graph(family, seed % NETWORKS)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(2, 3, 3, generator=generator).double()
    return graph, random_set(graph.input_shape, seed), Specification(rows, torch.ones(2, 3).double())


@pytest.mark.parametrize("family", FAMILIES)
def test_combined_is_never_looser_where_it_does_not_prove(family: str) -> None:
    for seed in range(12):
        task = instance(family, seed)
        found = COMBINED.margins(*task, BUDGET)
        proven = found.proven
        for method in (CAPM, CROWN, MAXLIN, FUSED):
            other = method.margins(*task, BUDGET)
            assert not bool((other.proven & ~proven).any())
            gap = other.lower - found.lower
            assert float(gap[~proven].clamp(min=0).sum()) <= 1e-9


def test_later_methods_see_unproven_instances_only() -> None:
    seen = []

    class Spy:
        name = "spy"

        def margins(self, graph, input_set, specification, budget):
            seen.append(len(specification))
            return IBP.margins(graph, input_set, specification, budget)

    graph, sets, specification = instance("mlp", 0)
    lifted = Specification(specification.C, specification.d + torch.tensor([[1e3], [0.0]]).double())
    Cascade("both", (CAPM, Spy())).margins(graph, sets, lifted, BUDGET)
    assert seen in ([1], [])
    lost = Specification(specification.C, specification.d - 1e3)
    Cascade("both", (CAPM, Spy())).margins(graph, sets, lost, BUDGET)
    assert seen[-1] == 2


@pytest.mark.parametrize("family", ["mlp", "conv", "residual"])
def test_without_pools_deepz_is_cap(family: str) -> None:
    task = instance(family, 3)
    assert torch.allclose(DEEPZ.margins(*task, BUDGET).lower, CAPM.margins(*task, BUDGET).lower)
