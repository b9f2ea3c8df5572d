import pytest
import torch
from torch import nn

from calipers.attacks import FGSM, PGD, run_attack
from calipers.attacks.losses import cross_entropy
from calipers.attacks.pgd import random_points, steepest_ascent
from calipers.core.norms import Norm
from calipers.core.problem import Specification
from tests.attacks.linear import linear_balls


@pytest.mark.parametrize("attack", [FGSM(), PGD(steps=10, restarts=1)])
@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_on_a_linear_model_it_succeeds_exactly_beyond_the_distance_to_the_boundary(attack, norm, scale) -> None:
    model, problem, distance = linear_balls(norm, 0.5, scale)
    result = run_attack(attack, model, problem, 0)
    clear = (distance - 0.5).abs() > 1e-4
    assert torch.equal(result.success[clear], (distance < 0.5)[clear])
    assert 0 < int(result.success.sum()) < 16


def test_cross_entropy_of_margins_is_the_softmax_cross_entropy() -> None:
    logits, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 0])
    margins = Specification.classified_as(labels, 4).margins(logits)
    softmax = nn.functional.cross_entropy(logits, labels, reduction="none")
    assert torch.allclose(cross_entropy(margins), softmax, atol=1e-6)


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_steps_have_the_length_they_say(norm: Norm) -> None:
    _, problem, _ = linear_balls(norm, 0.5, 0.3)
    sets = problem.input_set
    step = steepest_ascent(sets, torch.randn(16, 6), 0.1)
    assert torch.allclose(sets.distance(sets.center + step), torch.full((16,), 0.05), rtol=1e-4)


def test_random_starts_do_not_depend_on_the_batch() -> None:
    _, problem, _ = linear_balls(Norm.LINF, 0.5)
    whole = random_points(problem.input_set, list(range(16)))
    part = random_points(problem.input_set[4:9], list(range(4, 9)))
    assert torch.equal(whole[4:9], part)


def test_broken_instances_cost_no_more_passes() -> None:
    model, problem, distance = linear_balls(Norm.LINF, 0.5)
    result = run_attack(PGD(steps=10, restarts=3), model, problem, 0)
    assert int(result.forwards[distance < 0.3].max()) < int(result.forwards[distance > 0.6].min())
