"""What every verifier must keep. A new verifier joins by its name in the registry."""

import re
from functools import cache

import pytest
import torch

from calipers.attacks import PGD, run_attack
from calipers.bounds.budget import WorkBudget
from calipers.core.devices import moved
from calipers.core.errors import InputError
from calipers.core.norms import Norm
from calipers.core.problem import Problem, Specification
from calipers.core.results import Termination, Verdict
from calipers.core.sets import Box, LpBall
from calipers.graph.graph import Graph, GraphModule
from calipers.verify import VERIFIERS, Limits, RestrictedVerifier, Verifier
from tests.elsewhere import elsewhere
from tests.limits import NEVER
from tests.nets import BASIC, FAMILIES, random_graph

RESOURCES = Limits(WorkBudget(), timeout=NEVER)
# What is left open when this is over proves nothing, on a slow machine more than on a fast one.
HASTE = Limits(WorkBudget(), timeout=0.5)


def problem(family: str, seed: int, epsilon: float, norm: Norm = Norm.LINF) -> tuple:
    graph = random_graph(family, seed, torch.float32)
    x = torch.rand(6, *graph.input_shape, generator=torch.Generator().manual_seed(seed))
    labels = graph.evaluate(x).argmax(1)
    ball = LpBall(x, torch.full((6,), epsilon), norm, torch.ones(()), (0.0, 1.0))
    return graph, Problem("net", tuple(range(6)), ball, Specification.classified_as(labels, 3))


@cache
def broken(family: str, seed: int, epsilon: float) -> tuple[bool, ...]:
    """Which instances of `problem` an attack breaks: the same for every verifier."""
    graph, task = problem(family, seed, epsilon)
    return tuple(run_attack(PGD(steps=20, restarts=2), GraphModule(graph), task, seed).success.tolist())


def accepted(verifier: Verifier, graph: Graph, task: Problem) -> bool:
    """Whether a verifier takes a task; one that does not says so both before the work and in it."""
    if isinstance(verifier, RestrictedVerifier):
        try:
            verifier.require(graph, task.input_set)
        except InputError as error:
            with pytest.raises(InputError, match=re.escape(str(error))):
                verifier.verify(graph, task)
            return False
    return True


@pytest.mark.parametrize("name", VERIFIERS)
@pytest.mark.parametrize("family", BASIC)
def test_networks_of_relu_and_maxpool_in_linf_are_accepted_by_all(name: str, family: str) -> None:
    assert accepted(VERIFIERS[name](RESOURCES), *problem(family, 0, 0.01))


@pytest.mark.parametrize("name", VERIFIERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_that_an_attack_breaks_is_verified(name: str, family: str) -> None:
    for seed in range(3 if family in BASIC else 1):
        for epsilon in (0.02, 0.2):
            graph, task = problem(family, seed, epsilon)
            verifier = VERIFIERS[name](HASTE)
            if not accepted(verifier, graph, task):
                continue
            verdicts = verifier.verify(graph, task).verdicts
            assert not any(
                v is Verdict.VERIFIED and b for v, b in zip(verdicts, broken(family, seed, epsilon), strict=True)
            )


@pytest.mark.parametrize("name", VERIFIERS)
@pytest.mark.parametrize("norm", Norm)
def test_a_point_is_verified_exactly_if_it_is_classified_correctly(name: str, norm: Norm) -> None:
    graph, task = problem("pooled", 1, 0.0, norm)
    verifier = VERIFIERS[name](RESOURCES)
    if not accepted(verifier, graph, task):
        return
    assert set(verifier.verify(graph, task).verdicts) == {Verdict.VERIFIED}
    turned = Problem("net", task.sample_id, task.input_set, Specification(-task.specification.C, task.specification.d))
    assert Verdict.VERIFIED not in verifier.verify(graph, turned).verdicts


@pytest.mark.parametrize("name", VERIFIERS)
def test_bounds_tighten_as_sets_shrink(name: str) -> None:
    lower = [VERIFIERS[name](RESOURCES).verify(*problem("overlap", 2, e)).lower for e in (0.2, 0.03, 0.01)]
    assert bool((lower[0] <= lower[1] + 1e-4).all())
    assert bool((lower[1] <= lower[2] + 1e-4).all())


@pytest.mark.parametrize("name", VERIFIERS)
def test_an_instance_is_answered_alike_alone_and_in_a_batch(name: str) -> None:
    graph, task = problem("padded", 5, 0.05)
    verifier = VERIFIERS[name](RESOURCES)
    whole = verifier.verify(graph, task).lower
    alone = torch.cat([verifier.verify(graph, task[i : i + 1]).lower for i in range(6)])
    assert torch.allclose(whole, alone, atol=1e-4)


@pytest.mark.parametrize("name", VERIFIERS)
def test_boxes_and_their_balls_agree(name: str) -> None:
    graph, task = problem("conv", 2, 0.05)
    box = task.input_set.box()
    boxed = Problem("net", task.sample_id, Box(box.lower, box.upper), task.specification)
    verifier = VERIFIERS[name](RESOURCES)
    assert torch.allclose(verifier.verify(graph, task).lower, verifier.verify(graph, boxed).lower, atol=1e-5)


@pytest.mark.parametrize("name", VERIFIERS)
def test_it_says_how_it_ended_and_what_it_ran_with(name: str) -> None:
    verifier = VERIFIERS[name](RESOURCES)
    assert verifier.parameters["memory_bytes"] == RESOURCES.budget.bytes
    assert verifier.verify(*problem("mlp", 0, 0.1)).terminations == (Termination.COMPLETED,) * 6


# What takes seconds on a network with a maxpool; `full` goes through them.
SLOW = ("complete", "milp", "optimised", "forward")


def follows_its_inputs(name: str, family: str) -> None:
    graph, task = problem(family, 1, 0.05)
    task, verifier = task[:2], VERIFIERS[name](RESOURCES)
    here = verifier.verify(graph, task)
    with elsewhere() as device:
        there = verifier.verify(graph.to(device=device), moved(task, device))
        assert there.lower.device == device
        assert torch.equal(there.lower.cpu(), here.lower)
        assert there.verdicts == here.verdicts


@pytest.mark.parametrize("name", VERIFIERS)
def test_it_follows_its_inputs_to_another_device(name: str) -> None:
    follows_its_inputs(name, "mlp" if name in SLOW else "pooled")


@pytest.mark.full
@pytest.mark.parametrize("name", SLOW)
def test_it_follows_its_inputs_to_another_device_through_a_maxpool(name: str) -> None:
    follows_its_inputs(name, "pooled")
