"""FMN against closed forms, on linear classifiers."""

import pytest
import torch

from calipers.attacks import FMN, MINIMUM_NORM_ATTACKS, run_minimum_norm
from calipers.core.distances import Distance
from calipers.core.problem import MinimumNormProblem
from tests.attacks.linear import SHAPES, exact, linear


@pytest.mark.parametrize(("classes", "shape"), SHAPES)
@pytest.mark.parametrize("distance", [Distance.LINF, Distance.L2, Distance.L1])
def test_it_finds_the_distance_to_a_linear_boundary(distance, classes, shape) -> None:
    net, problem = linear(classes, shape, distance, None)
    ratio = run_minimum_norm(MINIMUM_NORM_ATTACKS[f"fmn-{distance}"](300), net, problem, 0).distance / exact(
        net, problem
    )
    assert (ratio >= 1 - 1e-4).all()
    assert float(ratio.mean()) <= (1.2 if distance is Distance.L1 else 1.02)


@pytest.mark.parametrize(("classes", "shape"), SHAPES)
@pytest.mark.parametrize("distance", [Distance.L0_PIXELS, Distance.L0_VALUES])
def test_it_changes_few_values_of_a_linear_classifier(distance, classes, shape) -> None:
    net, problem = linear(classes, shape, distance, (0.0, 1.0))
    least = exact(net, problem)
    result = run_minimum_norm(FMN(distance, 300), net, problem, 0)
    assert (result.distance >= least).all()
    assert float((result.distance - least).mean()) <= 1


@pytest.mark.parametrize("distance", [Distance.LINF, Distance.L2])
def test_scaled_distances_are_scaled_answers(distance: Distance) -> None:
    net, problem = linear(10, (1, 8, 8), distance, (0.0, 1.0))
    half = MinimumNormProblem(
        "linear", problem.sample_id, problem.center, distance, torch.tensor(0.35), (0.0, 1.0), problem.specification
    )
    one, two = (run_minimum_norm(FMN(distance, 60), net, task, 0).distance for task in (problem, half))
    assert torch.allclose(2 * one, two, rtol=1e-3)
