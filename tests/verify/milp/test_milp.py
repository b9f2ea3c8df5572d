"""Exact verification against enumerated linear pieces, samples and descent, and the other complete method."""

import itertools
import re
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from calipers.bounds import FUSED, WorkBudget
from calipers.bounds.propagation.interval import interval_bounds
from calipers.core.errors import InputError
from calipers.core.norms import Norm
from calipers.core.problem import Problem, Specification
from calipers.core.results import Termination, Verdict
from calipers.core.sets import Box, InputSet, LpBall
from calipers.graph import ops
from calipers.graph.graph import Graph, Node
from calipers.solve.mixed import Minimum
from calipers.verify import Complete, Limits, Milp
from calipers.verify.milp import encode, verifier
from tests.limits import NEVER
from tests.milp import exact_minimum
from tests.nets import BASIC, FAMILIES, points, random_graph

EXACT = tuple(family for family in FAMILIES if not family.startswith("smooth"))
SURE = 1e-3


class Idle:
    """An attack that never tries, so that the solver has to find all witnesses."""

    name = "idle"
    parameters: ClassVar[dict] = {}
    norms: frozenset = frozenset()

    def run(self, query, seed: int) -> None:
        raise AssertionError("an attack for no norm is not called")


def dense(sizes: tuple[int, ...], seed: int) -> Graph:
    """Linear layers with ReLUs between."""
    generator = torch.Generator().manual_seed(seed)
    nodes = [Node("x", ops.Input(), (), sizes[:1])]
    for i, (n, m) in enumerate(itertools.pairwise(sizes)):
        weight, bias = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((m, n), (m,)))
        nodes.append(Node(f"linear{i}", ops.Linear(weight, bias), (len(nodes) - 1,), (m,)))
        if i < len(sizes) - 2:
            nodes.append(Node(f"relu{i}", ops.Relu(), (len(nodes) - 1,), (m,)))
    return Graph(tuple(nodes))


def pieces_minimum(graph: Graph, input_set: InputSet, row: np.ndarray) -> float:
    """min row . f(x), by a linear program for every pattern of active ReLUs; an l1 ball has two parts of each input."""
    box, count = input_set.box(), graph.input_shape[0]
    low, high = box.lower[0].numpy(), box.upper[0].numpy()
    center = input_set.center[0].numpy()
    neurons = sum(node.shape[0] for node in graph.nodes if isinstance(node.op, ops.Relu))
    best = np.inf
    for pattern in itertools.product([0.0, 1.0], repeat=neurons):
        # Variables are the ways up and down from the centre.
        matrix, constant, left = np.hstack([np.eye(count), -np.eye(count)]), center, list(pattern)
        sides, limits = [], []
        for node in graph.nodes[1:]:
            if isinstance(node.op, ops.Linear):
                weight = node.op.weight.numpy()
                matrix, constant = weight @ matrix, weight @ constant + node.op.bias.numpy()
            else:
                mask = np.array([left.pop(0) for _ in range(node.shape[0])])
                sides.append((1 - 2 * mask)[:, None] * matrix)
                limits.append((2 * mask - 1) * constant)
                matrix, constant = mask[:, None] * matrix, mask * constant
        if isinstance(input_set, LpBall):
            sides.append(np.ones((1, 2 * count)))
            limits.append(input_set.radius.numpy())
        reach = np.concatenate([high - center, center - low])
        ends = np.stack([np.zeros(2 * count), reach], 1)
        found = linprog(row @ matrix, np.vstack(sides), np.concatenate(limits), bounds=ends)
        if found.success:
            best = min(best, float(found.fun + row @ constant))
    return best


def instance(family: str, seed: int, radius: float) -> tuple[Graph, Problem]:
    graph = random_graph(family, seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, *graph.input_shape, generator=generator, dtype=torch.float64)
    spec = Specification.classified_as(graph.evaluate(x).argmax(1), 3)
    return graph, Problem("net", (seed,), Box(x - radius, x + radius), Specification(spec.C.double(), spec.d.double()))


def one_row(graph: Graph, input_set: InputSet, row: torch.Tensor, shift: float, timeout: float = NEVER):
    spec = Specification(row[None, None], torch.full((1, 1), shift, dtype=torch.float64))
    return Milp(Limits(timeout=timeout), attack=Idle()).verify(graph, Problem("net", (0,), input_set, spec))


@pytest.mark.parametrize("kind", ["box", "l1", "clipped l1"])
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_thresholds_around_the_minimum_over_all_linear_pieces(kind: str, seed: int) -> None:
    graph = dense((3, 3, 2, 2), seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, 3, generator=generator, dtype=torch.float64)
    if kind == "box":
        radius = torch.rand(1, 3, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 1.0, 0.0])
        input_set: InputSet = Box(x - radius, x + radius)
    else:
        domain = (0.0, 1.0) if kind == "clipped l1" else None
        input_set = LpBall(x, torch.full((1,), 0.7, dtype=torch.float64), Norm.L1, torch.ones(()), domain)
    row = torch.randn(2, generator=generator, dtype=torch.float64)
    exact = pieces_minimum(graph, input_set, row.numpy())
    assert one_row(graph, input_set, row, -exact + SURE).verdicts == (Verdict.VERIFIED,)
    broken = one_row(graph, input_set, row, -exact - SURE)
    assert broken.verdicts == (Verdict.FALSIFIED,)
    assert bool(input_set.contains(broken.witness[0]))
    assert float(graph.evaluate(broken.witness[0]) @ row) - exact - SURE <= 0
    # Below 0, but nearer than the solver's tolerances can tell.
    assert one_row(graph, input_set, row, -exact - 1e-9).verdicts != (Verdict.VERIFIED,)


@pytest.mark.parametrize("family", BASIC)
def test_thresholds_around_the_exact_minimum_of_windows(family: str) -> None:
    graph, problem = instance(family, 2, 0.02)
    box, row = problem.input_set.box(), problem.specification.C[0, 0]
    exact = exact_minimum(graph, box.lower[0], box.upper[0], row)
    assert float((graph.evaluate(points(box, 300, 1).flatten(0, 1)) @ row).min()) >= exact - 1e-7
    assert one_row(graph, box, row, -exact + SURE).verdicts == (Verdict.VERIFIED,)
    assert one_row(graph, box, row, -exact - SURE).verdicts == (Verdict.FALSIFIED,)


@pytest.mark.parametrize("family", EXACT)
def test_it_agrees_with_branch_and_bound(family: str) -> None:
    for seed, radius in ((1, 0.02), (3, 0.05)):
        graph, problem = instance(family, seed, radius)
        found = [method(Limits(timeout=NEVER)).verify(graph, problem).verdicts for method in (Milp, Complete)]
        assert found[0] == found[1]
        assert Verdict.UNKNOWN not in found[0]


def test_neurons_that_bounds_decide_need_no_variable() -> None:
    for family in BASIC:
        graph, problem = instance(family, 1, 1e-7)
        box = problem.input_set.box()
        assert not encode(graph, interval_bounds(graph, box), box).program.integer.any()
    graph, problem = instance("overlap", 1, 0.05)
    box = problem.input_set.box()
    tight = FUSED.propagate(graph, box, WorkBudget())
    fewer, more = encode(tight.graph, tight.bounds, box), encode(tight.graph, interval_bounds(tight.graph, box), box)
    assert 0 < fewer.program.integer.sum() < more.program.integer.sum()


def test_time_is_up() -> None:
    graph, problem = instance("overlap", 3, 0.3)
    for timeout in (0.0, 0.05):
        result = Milp(Limits(timeout=timeout), attack=Idle()).verify(graph, problem)
        assert result.verdicts == (Verdict.UNKNOWN,)
        assert result.terminations == (Termination.TIMEOUT,)
        assert bool((result.lower <= 0).any())


@pytest.mark.parametrize("bound", [np.inf, 1e3])
def test_a_bound_above_what_the_network_reaches_is_a_failure(monkeypatch, bound: float) -> None:
    monkeypatch.setattr(verifier, "minimise", lambda *_: Minimum(bound, None, 1, Termination.COMPLETED))
    graph, problem = instance("overlap", 3, 0.3)
    result = Milp(attack=Idle()).verify(graph, problem)
    assert result.verdicts == (Verdict.UNKNOWN,)
    assert result.terminations == (Termination.ERROR,)


@pytest.mark.parametrize("family", ["smooth", "smooth-mlp"])
def test_a_smooth_activation_is_refused_by_name(family: str) -> None:
    graph, problem = instance(family, 0, 0.1)
    smooth = next(node for node in graph.nodes if isinstance(node.op, ops.Sigmoid | ops.Softplus))
    with pytest.raises(InputError, match=f"{re.escape(repr(smooth.name))} is a {type(smooth.op).__name__}.*ReLU"):
        Milp().verify(graph, problem)


def test_an_l2_ball_is_refused() -> None:
    graph, problem = instance("mlp", 0, 0.1)
    ball = LpBall(problem.input_set.center, torch.ones(1).double(), Norm.L2, torch.ones(()), None)
    with pytest.raises(InputError, match=r"l2.*accepted"):
        Milp().verify(graph, Problem("net", (0,), ball, problem.specification))


def test_a_set_without_bounds_is_refused() -> None:
    graph, problem = instance("mlp", 0, torch.inf)
    with pytest.raises(InputError, match="finite"):
        one_row(
            graph,
            Box(torch.full((1, 4), -torch.inf).double(), problem.input_set.box().upper),
            torch.ones(3).double(),
            0.0,
        )
