"""Branch and bound over inputs against the exact minimum, and against samples where there is no exact one."""

import time

import pytest
import torch
from torch import Tensor

from calipers.bounds import FUSED, WorkBudget
from calipers.core.norms import Norm
from calipers.core.problem import Problem, Specification
from calipers.core.sets import Box, LpBall
from calipers.graph.graph import Graph
from calipers.verify.branching import input_search
from calipers.verify.branching.box_bounds import bound_boxes
from calipers.verify.branching.input_search import InputSearch
from calipers.verify.branching.result import SearchResult
from tests.limits import NEVER
from tests.milp import exact_minimum
from tests.nets import BASIC, FAMILIES, random_graph

FREE = 4


def few_inputs(graph: Graph, seed: int, radius: float) -> Box:
    """A box around a random input in which all inputs but a few are fixed."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, *graph.input_shape, generator=generator, dtype=torch.float64)
    free = torch.zeros(x.numel(), dtype=torch.float64)
    free[torch.randperm(x.numel(), generator=generator)[:FREE]] = radius
    return Box(x - free.reshape(x.shape), x + free.reshape(x.shape))


def search(graph: Graph, box: Box, row: Tensor, shift: float, seconds: float = NEVER) -> SearchResult:
    spec = Specification(row[None, None], torch.full((1, 1), shift, dtype=torch.float64))
    budget = WorkBudget(deadline=time.monotonic() + seconds)
    return InputSearch().run(graph, Problem("net", (0,), box, spec), [0], budget)


@pytest.mark.parametrize("family", BASIC)
def test_it_ends_on_the_right_side_of_the_exact_minimum(family: str) -> None:
    graph = random_graph(family, 4)
    box, row = few_inputs(graph, 4, 0.1), torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
    exact = exact_minimum(graph, box.lower[0], box.upper[0], row)
    proven = search(graph, box, row, -exact + 1e-3)
    assert proven.exhausted
    assert proven.lower == {0: torch.inf}
    assert proven.witness is None
    broken = search(graph, box, row, -exact - 1e-3)
    assert broken.witness is not None
    assert bool(box.contains(broken.witness))
    assert float(graph.evaluate(broken.witness)[0] @ row) - exact - 1e-3 <= 0


@pytest.mark.parametrize("family", FAMILIES)
def test_no_sample_contradicts_it(family: str) -> None:
    graph = random_graph(family, 6)
    box, row = few_inputs(graph, 6, 0.3), torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    points = box.lower + torch.rand(5000, *graph.input_shape, generator=generator, dtype=torch.float64) * (
        box.upper - box.lower
    )
    sampled = float((graph.evaluate(points) @ row).min())
    assert search(graph, box, row, -sampled + 0.05).lower == {0: torch.inf}
    found = search(graph, box, row, -sampled - 1e-3)
    assert found.witness is not None
    assert bool(box.contains(found.witness))


@pytest.mark.parametrize("family", ["mlp", "overlap", "residual"])
def test_bounds_by_one_pass_forward_lead_to_the_same_end(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are cheaper by enough, which on networks as small as these they are not."""
    monkeypatch.setattr(input_search, "pass_work", lambda graph, inputs: 0)
    monkeypatch.setattr(input_search, "_FEW", FREE)
    monkeypatch.setattr(input_search, "bound_boxes", None)
    graph = random_graph(family, 4)
    box, row = few_inputs(graph, 4, 0.1), torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
    exact = exact_minimum(graph, box.lower[0], box.upper[0], row)
    assert search(graph, box, row, -exact + 0.02).lower == {0: torch.inf}
    broken = search(graph, box, row, -exact - 0.02)
    assert broken.witness is not None
    assert bool(box.contains(broken.witness))


def test_a_stopped_search_keeps_a_sound_bound() -> None:
    graph = random_graph("mlp", 4)
    box, row = few_inputs(graph, 4, 0.5), torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
    exact = exact_minimum(graph, box.lower[0], box.upper[0], row)
    stopped = search(graph, box, row, -exact, seconds=0.0)
    assert not stopped.exhausted
    assert stopped.lower[0] <= 0


def test_it_takes_boxes_with_few_free_inputs() -> None:
    graph = random_graph("mlp", 0)
    few, many = few_inputs(graph, 0, 0.1), Box(torch.zeros(1, 30), torch.ones(1, 30))
    ball = LpBall(torch.zeros(1, 3), torch.ones(1), Norm.L2, torch.ones(()), None)
    assert InputSearch().suits(few)
    assert not InputSearch().suits(many)
    assert not InputSearch().suits(ball)


@pytest.mark.parametrize("family", BASIC)
def test_what_is_known_of_a_larger_box_makes_no_bound_wrong_or_looser(family: str) -> None:
    graph = random_graph(family, 8)
    box = few_inputs(graph, 8, 0.3)
    row = torch.tensor([[[1.0, -1.0, 0.0]]], dtype=torch.float64)
    rows = Specification(row, torch.zeros(1, 1, dtype=torch.float64))
    whole = bound_boxes(FUSED, graph, box, rows, WorkBudget())
    half = Box(box.lower, (box.lower + box.upper) / 2)
    alone = bound_boxes(FUSED, graph, half, rows, WorkBudget())
    after = bound_boxes(FUSED, graph, half, rows, WorkBudget(), whole.known)
    exact = exact_minimum(graph, half.lower[0], half.upper[0], row[0, 0])
    assert float(whole.lower) <= float(after.lower) <= exact + 1e-9
    for position, bounds in after.known.items():
        assert bool((bounds.lower >= whole.known[position].lower).all())
        assert bool((bounds.upper <= whole.known[position].upper).all())
    assert float(after.lower) >= float(alone.lower) - 1e-3 * abs(float(alone.lower))
