"""DeepFool against closed forms: on linear classifiers one step is the answer."""

import pytest
import torch

from calipers.attacks import DeepFool, run_minimum_norm
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from tests.attacks.linear import SHAPES, exact, linear
from tests.nets import dense, nearest_query

NORMS = [Distance.L2, Distance.LINF]


@pytest.mark.parametrize(("classes", "shape"), SHAPES)
@pytest.mark.parametrize("distance", NORMS)
def test_on_a_linear_classifier_one_step_ends_the_overshoot_beyond_the_boundary(distance, classes, shape) -> None:
    net, problem = linear(classes, shape, distance, None)
    result = run_minimum_norm(DeepFool(distance, 100), net, problem, 0)
    assert torch.allclose(result.distance, 1.02 * exact(net, problem), rtol=1e-3)
    assert (result.forwards == 3).all()
    assert (result.backwards == classes - 1).all()


@pytest.mark.parametrize("distance", NORMS)
def test_the_domain_costs_steps_and_not_the_answer(distance: Distance) -> None:
    net, problem = linear(10, (1, 8, 8), distance, (0.2, 0.8))
    result = run_minimum_norm(DeepFool(distance, 300), net, problem, 0)
    assert result.success.all()
    assert problem.admits(result.adversarial).all()
    assert (result.distance >= exact(net, problem) * (1 - 1e-4)).all()


def test_the_jacobian_has_the_gradient_of_every_row() -> None:
    net, problem = linear(4, (3, 4, 4), Distance.L2, None)
    query = nearest_query(net, problem)
    rows, slopes = query.jacobian(problem.center, torch.arange(12))
    assert torch.allclose(rows, problem.specification.margins(net(problem.center)))
    expected = (problem.specification.C @ dense(net, 1).weight).reshape(slopes.shape)
    assert torch.allclose(slopes, expected, atol=1e-6)
    assert query.forwards.tolist() == [1] * 12
    assert query.backwards.tolist() == [3] * 12


def test_a_budget_without_room_for_a_step_is_refused() -> None:
    net, problem = linear(10, (1, 8, 8), Distance.L2, None)
    with pytest.raises(InputError, match="11 propagations for 9 rows; accepted: 12 or more"):
        run_minimum_norm(DeepFool(Distance.L2, 11), net, problem, 0)
    assert run_minimum_norm(DeepFool(Distance.L2, 12), net, problem, 0).success.all()


@pytest.mark.parametrize("distance", NORMS)
def test_short_steps_end_at_the_same_place(distance: Distance) -> None:
    net, problem = linear(4, (3, 4, 4), distance, None)
    nearest = exact(net, problem)
    short = float(nearest.min()) / 3
    whole, parts = (
        run_minimum_norm(DeepFool(distance, 10**4, 500, longest=longest), net, problem, 0) for longest in (None, short)
    )
    assert (parts.forwards > whole.forwards).all()
    assert (parts.distance >= nearest * (1 - 1e-4)).all()
    assert (parts.distance <= 1.02 * nearest * (1 + 1e-3)).all()


def test_other_distances_are_refused() -> None:
    with pytest.raises(InputError, match="accepted: l2, linf"):
        DeepFool(Distance.L1, 100)
