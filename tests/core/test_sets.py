import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from calipers.core.errors import InputError
from calipers.core.norms import Norm, flat
from calipers.core.sets import Box, LpBall
from tests.nets import random_set

SEEDS = st.integers(0, 10_000)


@given(SEEDS)
def test_samples_and_projections_lie_in_the_set(seed: int) -> None:
    sets = random_set((2, 3, 3), seed)
    generator = torch.Generator().manual_seed(seed)
    sample = sets.sample(generator)
    outside = torch.randn(sample.shape, generator=generator, dtype=sample.dtype) * 3
    assert sets.contains(sample).all()
    assert sets.contains(sets.project(outside)).all()
    assert sets.box().contains(sample).all()
    assert torch.allclose(sets.project(sample), sample, atol=1e-12)


@given(SEEDS)
def test_the_centre_is_in_the_set_and_far_points_are_not(seed: int) -> None:
    sets = random_set((5,), seed)
    assert sets.contains(sets.center).all()
    assert not sets.contains(sets.center + 100).any()


@given(SEEDS)
def test_indexing_picks_instances(seed: int) -> None:
    sets = random_set((4,), seed, batch=3)
    assert len(sets[1:]) == 2
    assert torch.equal(sets[torch.tensor([2])].center, sets.center[2:])


def test_a_normalised_linf_ball_is_the_pixel_box_of_radius_epsilon_std() -> None:
    center = torch.full((1, 2, 1, 1), 0.5)
    ball = LpBall(center, torch.tensor([0.1]), Norm.LINF, torch.tensor([0.5, 2.0]).reshape(2, 1, 1), None)
    assert torch.allclose(flat(ball.box().upper), torch.tensor([[0.55, 0.7]]))
    assert torch.allclose(ball.distance(ball.box().upper), torch.tensor([0.1]))


def test_the_domain_cuts_the_ball() -> None:
    ball = LpBall(torch.zeros(1, 3), torch.tensor([0.5]), Norm.LINF, torch.ones(()), (0.0, 1.0))
    assert torch.equal(ball.box().lower, torch.zeros(1, 3))
    assert not ball.contains(torch.full((1, 3), -0.1)).any()


def test_a_box_upside_down_is_refused() -> None:
    with pytest.raises(InputError, match="lower exceeds upper by 1"):
        Box(torch.ones(1, 2), torch.zeros(1, 2))
    with pytest.raises(InputError, match="shape"):
        Box(torch.ones(1, 2), torch.ones(1, 3))


@pytest.mark.parametrize("norm", Norm)
def test_dual_norms_attain_hoelder(norm: Norm) -> None:
    row = torch.tensor([[3.0, -4.0, 1.0]])
    best = {
        Norm.LINF: row.sign(),
        Norm.L2: row / row.norm(),
        Norm.L1: torch.tensor([[0.0, -1.0, 0.0]]),
    }[norm]
    assert float(norm(best)[0]) == pytest.approx(1)
    assert float((row * best).sum()) == pytest.approx(float(norm.dual(row)[0]))
    assert norm.dual.dual is norm


def test_an_empty_batch_is_flat_too() -> None:
    assert flat(torch.zeros(0, 2, 3)).shape == (0, 6)
