"""JSMA against brute force over all pairs, and against the exact count on linear classifiers."""

from itertools import combinations

import pytest
import torch
from torch import Tensor, nn

from calipers.attacks import JSMA, run_minimum_norm
from calipers.attacks.jsma import best_pair, pairs_per_step, salient
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.problem import MinimumNormProblem, Specification
from tests.attacks.linear import SHAPES, exact, linear
from tests.nets import dense


def score(gain: Tensor, relief: Tensor, p: int, q: int) -> float:
    one, two = float(gain[p] + gain[q]), float(relief[p] + relief[q])
    return one * two if one > 0 and two > 0 else 0.0


@pytest.mark.parametrize("kind", ["free", "agreeing", "opposed", "few-values", "hopeless"])
@pytest.mark.parametrize("features", [2, 3, 40])
def test_the_pair_is_the_best_of_all(kind: str, features: int) -> None:
    draws = torch.Generator().manual_seed(features)
    gain, other = torch.randn(2, 30, features, generator=draws, dtype=torch.float64)
    relief = {
        "free": other,
        "agreeing": gain + 0.1 * other,
        "opposed": 1 - gain,
        "few-values": other.round(),
        "hopeless": -gain.abs(),
    }[kind]
    gain = gain.round() if kind == "few-values" else gain
    free = torch.rand(30, features, generator=draws) < 0.8
    pair, found = best_pair(gain, relief, free)
    for i in range(30):
        allowed = [(p, q) for p, q in combinations(range(features), 2) if free[i, p] and free[i, q]]
        best = max((score(gain[i], relief[i], p, q) for p, q in allowed), default=0.0)
        assert bool(found[i]) == (best > 0)
        if best > 0:
            p, q = sorted(pair[i].tolist())
            assert (p, q) in allowed
            assert score(gain[i], relief[i], p, q) == pytest.approx(best)


def test_a_pair_worked_out_by_hand() -> None:
    """0 gains most and relieves nothing: with 1, (4 + 1)(0 + 2) = 10, with 2, (4 + 3)(0 + 1) = 7; 1 with 2 is 12."""
    gain, relief = torch.tensor([[4.0, 1.0, 3.0, 0.5]]), torch.tensor([[0.0, 2.0, 1.0, 0.5]])
    everything = torch.ones(1, 4, dtype=torch.bool)
    pair, _ = best_pair(gain, relief, everything)
    assert sorted(pair[0].tolist()) == [1, 2]
    assert salient(gain, relief, everything, 1).tolist() == [[False, True, True, False]]
    assert salient(gain, relief, everything, 5).all()


def test_tiny_gradients_have_a_pair_too() -> None:
    tiny = torch.full((1, 3), 1e-30)
    assert best_pair(tiny, tiny, torch.ones(1, 3, dtype=torch.bool))[1].all()


def test_it_moves_the_pairs_that_the_map_of_the_logits_names() -> None:
    """On a linear classifier the map never changes: from 0.5, each step adds half the slopes of its pair."""
    weights = torch.tensor([[0.0, -0.2, -2.0, 0.0, -0.1], [0.1, 1.0, 3.0, 0.2, 2.0]])
    net = nn.Linear(5, 2).requires_grad_(False)
    net.weight.copy_(weights)
    net.bias.copy_(torch.tensor([5.9, 0.0]))
    x = torch.full((1, 5), 0.5)
    task = MinimumNormProblem(
        "net",
        (0,),
        x,
        Distance.L0_VALUES,
        torch.tensor(1.0),
        (0.0, 1.0),
        Specification.classified_as(torch.tensor([0]), 2),
    )
    result = run_minimum_norm(JSMA(100), net, task, 0)
    # Margin: 5.9 - 1.15 - 3.15 = 1.6; 2 and 4 make up 3.55 of it, and no other pair scores more than 5.0 * 2.1.
    assert result.adversarial.tolist() == [[0.5, 0.5, 1.0, 0.5, 1.0]]
    assert result.distance.tolist() == [2.0]


@pytest.mark.parametrize(("classes", "shape"), SHAPES)
@pytest.mark.parametrize("distance", [Distance.L0_VALUES, Distance.L0_PIXELS])
def test_on_linear_classifiers_it_is_above_the_exact_count_and_in_the_domain(distance, classes, shape) -> None:
    net, problem = linear(classes, shape, distance, (0.0, 1.0))
    result = run_minimum_norm(JSMA(3000), net, problem, 0)
    assert result.success.all()
    assert problem.admits(result.adversarial).all()
    least = exact(net, problem)
    assert (result.distance >= least).all()
    # It does not see how far a value can go, and moves all of them one way.
    assert float(result.distance.mean()) <= 3.5 * float(least.mean())
    changed = (result.adversarial != problem.center) & (result.adversarial != 0) & (result.adversarial != 1)
    assert not changed.any()
    up, down = (
        flag.flatten(1).any(1) for flag in (result.adversarial > problem.center, result.adversarial < problem.center)
    )
    assert not (up & down).any()


def test_without_a_domain_features_move_again_and_again() -> None:
    net, problem = linear(2, (20,), Distance.L0_VALUES, None)
    dense(net, 1).weight.mul_(0.5)
    dense(net, 1).bias[:] = 3 * (problem.center @ dense(net, 1).weight.T).abs().max() * torch.tensor([1.0, -1.0])
    task = MinimumNormProblem(
        "linear",
        problem.sample_id,
        problem.center,
        Distance.L0_VALUES,
        problem.scale,
        None,
        Specification.classified_as(net(problem.center).argmax(1), 2),
    )
    result = run_minimum_norm(JSMA(3000), net, task, 0)
    assert result.success.all()
    assert ((result.adversarial - problem.center) / problem.scale).abs().max() > 1.5
    assert (result.distance == 2).all()


def test_a_step_costs_three_passes_of_every_way() -> None:
    net, problem = linear(4, (3, 4, 4), Distance.L0_VALUES, (0.0, 1.0))
    result = run_minimum_norm(JSMA(25), net, problem, 0)
    assert (result.forwards <= 13).all()
    assert (result.backwards <= 12).all()
    assert int(result.backwards.max()) == 12
    with pytest.raises(InputError, match="24 propagations for 3 rows; accepted: 25 or more"):
        run_minimum_norm(JSMA(24), net, problem, 0)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 30, 391, 392, 1000])
@pytest.mark.parametrize("pairs", [1, 10, 392])
def test_the_steps_go_through_all_pairs(steps: int, pairs: int) -> None:
    plan = pairs_per_step(steps, pairs)
    assert sum(plan) == pairs or len(plan) == steps == sum(plan)
    assert len(plan) <= steps
    assert min(plan) >= 1
    if steps >= pairs:
        assert plan == [1] * pairs


def test_most_steps_change_one_pair_where_the_budget_is_near_enough() -> None:
    assert pairs_per_step(37, 392)[:29] == [1] * 29
