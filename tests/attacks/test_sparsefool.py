"""SparseFool against closed forms on linear classifiers, and its linear solver against linear programs."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from calipers.attacks import SparseFool, run_minimum_norm
from calipers.attacks.sparsefool import sparse_step
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from tests.attacks.linear import SHAPES, exact, linear


@pytest.mark.parametrize("shape", [(20,), (3, 4, 4)])
def test_between_two_classes_one_step_ends_both_overshoots_beyond_the_boundary(shape: tuple[int, ...]) -> None:
    net, problem = linear(2, shape, Distance.L1, None)
    result = run_minimum_norm(SparseFool(100), net, problem, 0)
    assert torch.allclose(result.distance, 1.02**2 * exact(net, problem), rtol=1e-3)
    assert ((result.adversarial != problem.center).flatten(1).sum(1) == 1).all()
    # The centre, DeepFool's step and its normal, the look at the result.
    assert (result.forwards == 4).all()
    assert (result.backwards == 2).all()


@pytest.mark.parametrize(("classes", "shape"), SHAPES)
def test_it_is_near_the_distance_to_a_linear_boundary(classes: int, shape: tuple[int, ...]) -> None:
    """Not at it: of the classes it takes the one that is nearest in l2."""
    net, problem = linear(classes, shape, Distance.L1, None)
    ratio = run_minimum_norm(SparseFool(500), net, problem, 0).distance / exact(net, problem)
    assert (ratio >= 1 - 1e-4).all()
    assert float(ratio.mean()) <= 1.2


def test_the_domain_is_kept_and_costs_more_values() -> None:
    net, problem = linear(10, (1, 8, 8), Distance.L1, (0.2, 0.8))
    result = run_minimum_norm(SparseFool(500), net, problem, 0)
    assert result.success.all()
    assert problem.admits(result.adversarial).all()
    assert (result.distance >= exact(net, problem) * (1 - 1e-4)).all()
    changed = result.adversarial != problem.center
    edge = (result.adversarial == 0.2) | (result.adversarial == 0.8)
    # Each step moves one value part of the way, and all others to the edge.
    assert ((changed & ~edge).flatten(1).sum(1) <= 3).all()


def test_the_step_is_the_smallest_in_the_box_that_reaches_the_plane() -> None:
    _, problem = linear(2, (8,), Distance.L1, (0.2, 0.8))
    draws = torch.Generator().manual_seed(1)
    normal, way = torch.randn(2, 12, 8, generator=draws)
    normal[:, 3] = 0
    start = problem.clip(0.2 * torch.randn(12, 8, generator=draws))
    step = sparse_step(problem, start, normal, 0.3 * way)
    scale = float(problem.scale)
    for i in range(len(problem)):
        slope = scale * normal[i].double().numpy()
        missing = max(float(slope @ (0.3 * way[i]).double().numpy()), 0.0)
        x = (problem.center[i] + scale * start[i]).double().numpy()
        room = np.concatenate([(0.8 - x) / scale, (x - 0.2) / scale]).clip(0)
        least = linprog(np.ones(16), -np.concatenate([slope, -slope])[None], [-missing], bounds=[(0, r) for r in room])
        if least.success:
            assert float(step[i].abs().sum()) == pytest.approx(least.fun, rel=1e-3, abs=1e-5)
            assert float(slope @ step[i].double().numpy()) >= missing - 1e-5
        else:
            assert torch.allclose(
                step[i],
                torch.where(normal[i] > 0, 1, -1)
                * (normal[i] != 0)
                * torch.from_numpy(np.where(slope > 0, room[:8], room[8:])).float(),
                atol=1e-5,
            )


def test_more_control_goes_further() -> None:
    """The last query is looked at, for DeepFool's own point counts where it is nearer."""
    net, problem = linear(2, (20,), Distance.L1, None)
    seen = []
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for control in (1.0, 3.0):
        run_minimum_norm(SparseFool(500, control=control), net, problem, 0)
        # After it comes one pass for each alone.
        last = [x for x in seen if len(x) == len(problem)][-1]
        assert torch.allclose(problem.measure(last), control * 1.02**2 * exact(net, problem), rtol=1e-3)
    with pytest.raises(InputError, match=r"control 0\.5; accepted: 1 or more"):
        SparseFool(100, control=0.5)


def test_a_budget_without_room_for_a_step_is_refused() -> None:
    net, problem = linear(10, (1, 8, 8), Distance.L1, None)
    with pytest.raises(InputError, match="13 propagations for 9 rows; accepted: 14 or more"):
        run_minimum_norm(SparseFool(13), net, problem, 0)
    result = run_minimum_norm(SparseFool(14), net, problem, 0)
    assert result.success.any()
    assert (result.forwards + result.backwards <= 14).all()


def test_it_is_the_same_twice() -> None:
    net, problem = linear(10, (1, 8, 8), Distance.L1, (0.0, 1.0))
    one, two = (run_minimum_norm(SparseFool(500), net, problem, seed).adversarial for seed in (0, 1))
    assert torch.equal(one, two)
