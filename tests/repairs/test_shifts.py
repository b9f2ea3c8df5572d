import numpy as np
import pytest

from calipers.core.errors import InputError
from calipers.repairs.shifts import cosine, directions, groups_of, mean_resultant_length


def test_directions_have_length_one_and_nothing_stays_nothing() -> None:
    found = directions(np.array([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(found, [[0.6, 0.8], [0.0, 0.0]])


def test_the_mean_resultant_length_is_one_for_one_direction_and_nothing_for_opposite_ones() -> None:
    assert mean_resultant_length(np.array([[1.0, 1.0], [5.0, 5.0]])) == pytest.approx(1.0)
    assert mean_resultant_length(np.array([[1.0, 1.0], [-5.0, -5.0]])) == pytest.approx(0.0)


def test_cosine_of_known_angles() -> None:
    along, across = np.array([[2.0, 0.0], [7.0, 0.0]]), np.array([[0.0, 3.0]])
    assert cosine(along, along) == pytest.approx(1.0)
    assert cosine(along, across) == pytest.approx(0.0)
    assert cosine(along, -along) == pytest.approx(-1.0)
    assert cosine(along, np.zeros((1, 2))) == 0.0


def test_groups_are_directions_whatever_their_lengths_and_the_largest_comes_first() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([2, 0, 1], [5, 20, 10])
    shifts = np.eye(6)[truth] * rng.uniform(0.1, 10, (len(truth), 1)) + 0.001 * rng.normal(size=(len(truth), 6))
    np.testing.assert_array_equal(groups_of(shifts, 3, seed=0), truth)


@pytest.mark.parametrize("count", [0, 5])
def test_more_groups_than_adversaries_are_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"{count} groups of 4 adversaries; accepted: 1 to 4"):
        groups_of(np.eye(4), count, seed=0)
