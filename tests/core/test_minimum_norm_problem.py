from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.problem import MinimumNormProblem, Specification


def problem(distance: Distance = Distance.L2, domain: tuple[float, float] | None = (0.0, 1.0)) -> MinimumNormProblem:
    center = torch.tensor([[[0.2, 0.9]], [[0.5, 0.5]]])  # (batch, 1 channel, 2)
    scale = torch.tensor([0.5])[:, None]
    return MinimumNormProblem(
        "net", (4, 8), center, distance, scale, domain, Specification.classified_as(torch.tensor([0, 1]), 2)
    )


def test_distances_are_in_units_of_scale() -> None:
    task = problem()
    assert task.measure(task.center + torch.tensor([0.3, -0.4])).tolist() == pytest.approx([1.0, 1.0])
    assert torch.allclose(task.perturbed(torch.full((2, 1, 2), 0.1)), task.center + 0.05)


@given(st.integers(0, 1000))
def test_clipped_perturbations_keep_the_input_in_the_domain(seed: int) -> None:
    task, noise = problem(), torch.randn(2, 1, 2, generator=torch.Generator().manual_seed(seed)) * 3
    x = task.perturbed(task.clip(noise))
    assert task.admits(x).all()
    assert torch.allclose(x, (task.center + task.scale * noise).clamp(0, 1))
    free = replace(task, domain=None)
    assert torch.equal(free.clip(noise), noise)


def test_unchanged_values_stay_the_centres_own() -> None:
    task = problem(Distance.L0_VALUES)
    x = task.perturbed(task.clip(torch.tensor([[[0.0, 9.0]], [[0.0, 0.0]]])))
    assert task.measure(x).tolist() == [1, 0]


def test_values_outside_the_domain_and_infinite_values_are_not_admitted() -> None:
    task = problem()
    assert task.admits(torch.tensor([[[0.0, 1.1]], [[0.0, 1.0]]])).tolist() == [False, True]
    assert not replace(task, domain=None).admits(torch.tensor([[[0.0, torch.inf]], [[torch.nan, 0.0]]])).any()


def test_instances_are_picked_by_index() -> None:
    part = problem()[1:]
    assert part.sample_id == (8,)
    assert len(part.specification) == len(part.center) == 1


def test_balls_of_a_radius_ask_the_fixed_question() -> None:
    task = problem(Distance.L1)
    fixed = task.within(0.25)
    assert fixed.sample_id == task.sample_id
    x = task.center + torch.tensor([0.0625, -0.0625])
    assert torch.equal(fixed.input_set.distance(x), task.measure(x))
    with pytest.raises(InputError, match="l0-pixels has no balls"):
        problem(Distance.L0_PIXELS).within(3.0)


def test_what_clashes_is_named() -> None:
    with pytest.raises(InputError, match="2 ids, 2 centres, 1 spec"):
        replace(problem(), specification=problem().specification[:1])
    with pytest.raises(InputError, match=r"centres run from 0.2 to 0.9, the domain is \(0.3, 1.0\)"):
        replace(problem(), domain=(0.3, 1.0))
    with pytest.raises(InputError, match="scale 0"):
        replace(problem(), scale=torch.zeros(()))


def test_a_target_is_one_row_and_never_the_label() -> None:
    rows = Specification.ranks_above(torch.tensor([0, 2]), torch.tensor([2, 1]), 3)
    assert rows.margins(torch.tensor([[5.0, 1.0, 2.0], [5.0, 1.0, 2.0]])).tolist() == [[3.0], [1.0]]
    with pytest.raises(InputError, match="target 1 is the label of entry 1"):
        Specification.ranks_above(torch.tensor([0, 1]), torch.tensor([2, 1]), 3)


def test_at_an_edge_of_the_domain_only_the_way_inwards_is_left() -> None:
    task = problem()
    x = torch.tensor([[[0.0, 1.0]], [[0.5, 1.0]]])
    assert torch.equal(task.inward(x, torch.full_like(x, -2.0)), torch.tensor([[[0.0, -2.0]], [[-2.0, -2.0]]]))
    assert torch.equal(task.inward(x, torch.full_like(x, 2.0)), torch.tensor([[[2.0, 0.0]], [[2.0, 0.0]]]))
    assert torch.equal(replace(task, domain=None).inward(x, x), x)
