"""Complete verification against the exact minimum."""

import time

import pytest
import torch
from torch import nn

from calipers.bounds import FUSED, WorkBudget
from calipers.core.norms import Norm
from calipers.core.problem import Problem, Specification
from calipers.core.results import Termination, Verdict
from calipers.core.sets import Box, LpBall
from calipers.graph.from_torch import from_module
from calipers.verify import Complete, Limits
from calipers.verify.branching.beta_crown import Search
from calipers.verify.branching.subdomains import Root
from tests.limits import NEVER
from tests.milp import exact_minimum
from tests.nets import BASIC, FAMILIES, random_graph

SURE = 1e-4


def instance(family: str, seed: int, radius: float) -> tuple:
    graph = random_graph(family, seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, *graph.input_shape, generator=generator, dtype=torch.float64)
    label = graph.evaluate(x).argmax(1)
    spec = Specification.classified_as(label, 3)
    return graph, Problem("net", (seed,), Box(x - radius, x + radius), Specification(spec.C.double(), spec.d.double()))


@pytest.mark.parametrize("radius", [0.02, 0.05])
@pytest.mark.parametrize("family", BASIC)
def test_it_decides_as_the_exact_minimum_does(family: str, radius: float) -> None:
    graph, problem = instance(family, 3, radius)
    box = problem.input_set.box()
    exact = min(exact_minimum(graph, box.lower[0], box.upper[0], row) for row in problem.specification.C[0])
    result = Complete(Limits(timeout=NEVER)).verify(graph, problem)
    if abs(exact) > SURE:
        assert result.verdicts[0] is (Verdict.VERIFIED if exact > 0 else Verdict.FALSIFIED)
    assert float(result.lower.min()) <= exact + SURE


@pytest.mark.parametrize("family", FAMILIES)
def test_a_witness_breaks_the_specification_inside_its_set(family: str) -> None:
    graph, problem = instance(family, 5, 0.6)
    result = Complete(Limits(timeout=0.5)).verify(graph, problem)
    if result.witness[0] is not None:
        assert bool(problem.input_set.contains(result.witness[0]))
        assert float(problem.specification.margins(graph.evaluate(result.witness[0])).min()) <= 0
    else:
        assert result.verdicts[0] is not Verdict.FALSIFIED


@pytest.mark.parametrize("family", ["mlp", "overlap", "pool-first", "residual"])
def test_the_search_ends_on_the_right_side_of_the_exact_minimum(family: str) -> None:
    """Just below the exact minimum everything can be proven, and just above it nothing."""
    graph, problem = instance(family, 2, 0.03)
    box = problem.input_set.box()
    row = problem.specification.C[0, 0]
    exact = exact_minimum(graph, box.lower[0], box.upper[0], row)
    propagation = FUSED.propagate(graph, problem.input_set, WorkBudget())
    for shift, provable in ((-exact + 1e-2, True), (-exact - 1e-2, False)):
        spec = Specification(row[None, None], torch.full((1, 1), shift, dtype=torch.float64))
        root = Root.of(propagation, problem.input_set, spec)
        found = Search().run(root, [0], WorkBudget(deadline=time.monotonic() + NEVER))
        assert found.exhausted is provable
        assert (found.witness is None) is provable
        assert found.lower == ({0: torch.inf} if provable else {})


def test_a_network_without_maxima_has_nothing_to_split() -> None:
    """Its planes of smooth functions stay loose: between what they prove and what an attack breaks is unknown."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(25, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    x = torch.rand(1, 25)
    graph, label = from_module(net.eval(), x.expand(2, -1)), net(x).argmax(1)
    found = [
        Complete(Limits(timeout=NEVER)).verify(
            graph, Problem("net", (0,), Box(x - radius, x + radius), Specification.classified_as(label, 3))
        )
        for radius in (0.3, 0.66, 0.9)
    ]
    assert [result.verdicts[0] for result in found] == [Verdict.VERIFIED, Verdict.UNKNOWN, Verdict.FALSIFIED]
    assert {result.terminations[0] for result in found} == {Termination.COMPLETED}


def test_time_is_up() -> None:
    graph, problem = instance("mlp", 0, 0.5)
    result = Complete(Limits(timeout=0.0)).verify(graph, problem)
    assert result.verdicts[0] is Verdict.FALSIFIED or result.terminations[0] is Termination.TIMEOUT


@pytest.mark.parametrize("norm", [Norm.L2, Norm.L1])
def test_other_balls_are_searched_too(norm: Norm) -> None:
    graph, problem = instance("overlap", 1, 0.0)
    center = problem.input_set.center
    decided = []
    for radius in (0.1, 0.3, 1.0):
        ball = LpBall(center, torch.full((1,), radius, dtype=torch.float64), norm, torch.ones(()), None)
        # The smallest is proven, however long it takes; what stays open in the others shows nothing.
        limits = Limits(timeout=NEVER if radius == 0.1 else 0.5)
        result = Complete(limits).verify(graph, Problem("net", (0,), ball, problem.specification))
        if result.verdicts[0] is Verdict.FALSIFIED:
            assert result.witness[0] is not None
            assert bool(ball.contains(result.witness[0]))
        decided.append(result.verdicts[0])
    assert Verdict.VERIFIED in decided
