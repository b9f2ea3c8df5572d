"""The search goes on from tighter bounds where it does not do without."""

import math
import time
from functools import cache

import pytest
import torch

from calipers.bounds import WorkBudget
from calipers.core.problem import Problem, Specification
from calipers.core.sets import Box
from calipers.graph.graph import Graph
from calipers.verify.branching.beta_crown import Search
from calipers.verify.branching.journal import Journal
from calipers.verify.branching.result import SearchResult
from calipers.verify.branching.split_search import SplitSearch
from tests.limits import NEVER
from tests.milp import exact_minimum
from tests.nets import BASIC, random_graph

ROW = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)


@cache
def lowest(family: str) -> tuple[Graph, Box, float]:
    """A network, a box, and the exact minimum of the row over it."""
    graph = random_graph(family, 2)
    x = torch.rand(1, *graph.input_shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    box = Box(x - 0.04, x + 0.04)
    return graph, box, exact_minimum(graph, box.lower[0], box.upper[0], ROW)


def instance(family: str, margin: float) -> tuple[Graph, Problem]:
    """A row whose exact minimum over the box is `margin`."""
    graph, box, exact = lowest(family)
    shift = torch.full((1, 1), margin - exact, dtype=torch.float64)
    return graph, Problem("", (0,), box, Specification(ROW[None, None], shift))


@pytest.mark.parametrize("search", [SplitSearch(), SplitSearch(search=Search(root_steps=1))], ids=["usual", "eager"])
@pytest.mark.parametrize("family", BASIC)
def test_it_decides_as_the_exact_minimum_does(family: str, search: SplitSearch) -> None:
    for margin in (0.02, -0.02):
        graph, problem = instance(family, margin)
        found = search.run(graph, problem, [0], WorkBudget(deadline=time.monotonic() + NEVER))
        assert found.proven is (margin > 0)
        assert (found.witness is None) is (margin > 0)


def test_what_is_searched_anew_leaves_one_tree_of_evidence() -> None:
    graph, problem = instance("overlap", 0.01)
    journal = Journal()
    found = SplitSearch(search=Search(root_steps=1)).run(graph, problem, [0], WorkBudget(), journal)
    assert found.proven
    (part,) = journal.parts
    assert sum(2.0 ** -len(leaf.splits) for leaf in part.leaves) == 1.0


def test_a_second_search_adds_to_the_first() -> None:
    first = SearchResult({0: -1.0, 1: math.inf, 2: -3.0}, None, 10, False)
    both = first.then(SearchResult({0: math.inf, 2: -4.0}, None, 5, False))
    assert both.lower == {0: math.inf, 1: math.inf, 2: -3.0}
    assert (both.subdomains, both.open, both.proven) == (15, [2], False)
