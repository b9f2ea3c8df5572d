"""Areas and local optimality against integrals over the steps themselves."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from calipers.core.errors import InputError
from calipers.evaluate.robustness.curves import (
    area,
    envelope,
    local_optimality,
    local_optimality_interval,
    robust_accuracy,
)

positive = st.one_of(st.just(math.inf), st.integers(1, 40).map(lambda k: k / 8))


@st.composite
def attacks(draw: st.DrawFn) -> list[torch.Tensor]:
    """Distances of a few attacks on the same samples, of which the same ones were wrong from the start."""
    samples = draw(st.integers(1, 6))
    wrong = draw(st.lists(st.booleans(), min_size=samples, max_size=samples))
    rows = draw(st.lists(st.lists(positive, min_size=samples, max_size=samples), min_size=1, max_size=4))
    return [torch.tensor([0.0 if w else d for w, d in zip(wrong, row, strict=True)]) for row in rows]


def integral(distances: torch.Tensor, radius: float) -> float:
    """The area under the steps by a sum over a grid that holds every step."""
    cells = np.arange(0, round(radius * 8)) / 8 + 1 / 16
    return float(sum((distances.numpy() > middle).mean() for middle in cells) / 8)


@given(attacks(), st.integers(0, 45).map(lambda k: k / 8))
def test_the_area_is_that_of_the_steps(rows: list[torch.Tensor], radius: float) -> None:
    assert area(rows[0], radius) == pytest.approx(integral(rows[0], radius))


@given(attacks(), st.integers(0, 45).map(lambda k: k / 8))
def test_robust_accuracy_counts_the_samples_beyond_the_radius(rows: list[torch.Tensor], radius: float) -> None:
    assert robust_accuracy(rows[0], radius) == sum(d > radius for d in rows[0].tolist()) / len(rows[0])


@given(attacks())
def test_the_envelope_is_the_nearest_of_each_sample(rows: list[torch.Tensor]) -> None:
    assert envelope(rows).tolist() == [min(column) for column in zip(*(row.tolist() for row in rows), strict=True)]


@given(attacks())
def test_local_optimality_is_the_share_of_the_area_taken_off(rows: list[torch.Tensor]) -> None:
    best = envelope(rows)
    finite = [d for d in best.tolist() if math.isfinite(d)]
    radius = max(finite, default=0.0)
    clean = float((best > 0).double().mean())
    for row in rows:
        found = local_optimality(row, best)
        most = clean * radius - integral(best, radius)
        if radius == 0:
            assert found is None
        elif most > 1e-9:
            assert found == pytest.approx((clean * radius - integral(row, radius)) / most)
        else:
            broken = [sum(0 < d <= radius for d in x.tolist()) for x in (row, best)]
            assert found == pytest.approx(broken[0] / broken[1])


@given(attacks())
def test_it_is_1_for_the_envelope_and_never_grows_with_a_distance(rows: list[torch.Tensor]) -> None:
    best = envelope(rows)
    if (best.isfinite() & (best > 0)).any():
        assert local_optimality(best, best) == pytest.approx(1)
        near, far = (local_optimality(d, best) for d in (rows[0], rows[0] * 1.5))
        assert near is not None
        assert far is not None
        assert 0 <= far <= near <= 1


def test_a_hand_made_case() -> None:
    best = torch.tensor([0.0, 1.0, 2.0, 4.0])
    # Off the clean area 3 * 4: the envelope takes 3 + 2 + 0, the attack 1 + 2 + 0.
    assert local_optimality(torch.tensor([0.0, 3.0, 2.0, math.inf]), best) == pytest.approx(3 / 5)


def test_trapezoids_would_say_something_else() -> None:
    distances = torch.tensor([1.0, 2.0])
    assert area(distances, 2.0) == 1.5
    assert np.trapezoid([1.0, 0.5, 0.0], [0.0, 1.0, 2.0]) == 1.0


def test_the_interval_holds_the_value_and_is_that_of_resampling() -> None:
    draw = torch.Generator().manual_seed(0)
    best = torch.rand(40, generator=draw) + 0.1
    worse = best * (1 + torch.rand(40, generator=draw))
    low, high = local_optimality_interval(worse, best, draws=4000) or (math.nan, math.nan)
    value = local_optimality(worse, best)
    assert value is not None
    assert low < value < high
    rng = np.random.default_rng(1)
    resampled = []
    for _ in range(4000):
        chosen = torch.from_numpy(rng.integers(40, size=40))
        resampled.append(local_optimality(worse[chosen], best[chosen]))
    assert (low, high) == pytest.approx(tuple(np.quantile(np.array(resampled, float), [0.025, 0.975])), abs=0.02)
    assert local_optimality_interval(worse, best) == local_optimality_interval(worse, best)
    assert local_optimality_interval(best, best) == pytest.approx((1, 1))
    nothing = torch.tensor([0.0, math.inf])
    assert local_optimality_interval(nothing, nothing) is None


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda: envelope([]), "envelope: attacks on \\[\\] samples"),
        (lambda: envelope([torch.ones(2), torch.ones(3)]), "attacks on \\[2, 3\\] samples"),
        (lambda: local_optimality(torch.tensor([1.0, 0.5]), torch.ones(2)), "sample 1 is broken at 0.5.* has 1"),
        (lambda: area(torch.tensor([math.nan]), 1.0), "not all of them are numbers"),
        (lambda: area(torch.tensor([-1.0]), 1.0), "not all of them are numbers"),
        (lambda: robust_accuracy(torch.zeros(0), 1.0), "distances: none"),
    ],
)
def test_what_makes_no_sense_is_refused(work, message: str) -> None:
    with pytest.raises(InputError, match=message):
        work()
