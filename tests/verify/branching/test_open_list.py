"""The loop of branch and bound on a toy: halving an interval until x^2 - 2 x + c is proven positive."""

import math

import pytest
import torch
from torch import Tensor

from calipers.bounds import OutOfTimeError, WorkBudget
from calipers.core.problem import Specification
from calipers.graph.graph import Graph
from calipers.verify.branching import open_subdomains
from calipers.verify.branching.beta_crown import Search
from calipers.verify.branching.open_list import Bounded, branch_and_bound
from calipers.verify.branching.split_search import SplitSearch
from calipers.verify.branching.ties import TieWatch
from tests.nets import random_graph
from tests.verify.branching.test_split_search import instance

Interval = tuple[float, float]


class Halved:
    """Intervals of [0, 3], each bounded by interval arithmetic, and halved where that is too loose."""

    def __init__(self, c: float, stop_after: float = math.inf) -> None:
        self.c, self.left, self.stop_after = c, stop_after, stop_after
        self.open: list[Interval] = [(0.0, 3.0)]
        self.bounds: dict[Interval, float] = {(0.0, 3.0): -math.inf}
        self.proven: list[Interval] = []

    def __len__(self) -> int:
        return len(self.open)

    def take(self) -> Interval:
        return self.open.pop(0)

    def put_back(self, taken: Interval) -> None:
        self.open.append(taken)

    def bound(self, taken: Interval) -> Bounded[tuple[Interval, float]]:
        self.left -= 1
        if self.left < 0:
            raise OutOfTimeError
        low, high = taken
        middle = (low + high) / 2
        return Bounded(
            1, torch.tensor([[middle]]), middle**2 - 2 * middle + self.c, (taken, low**2 - 2 * high + self.c)
        )

    def keep(self, bounded: Bounded[tuple[Interval, float]]) -> Tensor | None:
        (low, high), lower = bounded.details
        if lower > 0:
            self.proven.append((low, high))
            return None
        halves = [(low, (low + high) / 2), ((low + high) / 2, high)]
        self.open += halves
        self.bounds |= dict.fromkeys(halves, lower)
        return None

    def lowest(self) -> dict[int, float]:
        return {0: min((self.bounds[one] for one in self.open), default=math.inf)}


def ties(graph: Graph) -> TieWatch:
    """One that never looks, since no point of the toy is an input of a network."""
    watch = TieWatch(graph, Specification(torch.ones(1, 1, 3), torch.zeros(1, 1)), WorkBudget())
    watch.met = lambda point, margin, bounded: None  # type: ignore[method-assign]
    return watch


@pytest.mark.parametrize("c", [1.01, 1.5, 4.0])
def test_what_is_proven_covers_the_whole_set(c: float) -> None:
    """The minimum is c - 1, at 1."""
    toy = Halved(c)
    found = branch_and_bound(toy, ties(random_graph("mlp", 0)), WorkBudget())
    assert found.proven
    assert found.exhausted
    assert sum(high - low for low, high in toy.proven) == 3.0
    assert found.subdomains == 2 * len(toy.proven) - 1


def test_a_point_that_breaks_ends_it() -> None:
    found = branch_and_bound(Halved(0.99), ties(random_graph("mlp", 0)), WorkBudget())
    assert found.witness is not None
    x = float(found.witness)
    assert x**2 - 2 * x + 0.99 <= 0
    assert found.lower == {}


@pytest.mark.parametrize("batches", [0, 1, 3, 6])
def test_a_search_that_is_stopped_keeps_what_it_has_proven(batches: int) -> None:
    toy = Halved(1.01, batches)
    found = branch_and_bound(toy, ties(random_graph("mlp", 0)), WorkBudget())
    assert not found.exhausted
    assert found.lower[0] <= 0.01
    assert (found.lower[0] == -math.inf) is (batches == 0)
    lengths = [high - low for low, high in (*toy.open, *toy.proven)]
    assert sum(lengths) == 3.0
    assert (
        branch_and_bound(Halved(1.01), ties(random_graph("mlp", 0)), WorkBudget(), float(batches)).subdomains == batches
    )


def test_a_search_over_splits_that_is_stopped_within_a_batch_keeps_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, problem = instance("overlap", 0.001)
    calls, ascend = [], open_subdomains.ascend

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) > 2:
            raise OutOfTimeError
        return ascend(*arguments)

    monkeypatch.setattr(open_subdomains, "ascend", interrupted)
    search = SplitSearch(search=Search(root_steps=1))
    propagation = search.base.propagate(graph, problem.input_set, WorkBudget())
    root = open_subdomains.Root.of(propagation, problem.input_set, problem.specification)
    stopped = search.search.run(root, [0], WorkBudget())
    assert len(calls) == 3
    assert not stopped.exhausted
    assert -math.inf < stopped.lower[0] <= 0.001
