import pytest
import torch

from calipers.core.distances import Distance, largest_channel
from calipers.core.norms import Norm

PERTURBATION = torch.tensor([[[[0.0, 3.0], [0.0, -1.0]], [[0.0, -4.0], [2.0, 0.0]]]])  # (1, 2 channels, 2, 2)


@pytest.mark.parametrize(
    ("distance", "size"),
    [
        (Distance.LINF, 4.0),
        (Distance.L2, 30.0**0.5),
        (Distance.L1, 10.0),
        (Distance.L0_PIXELS, 3.0),
        (Distance.L0_VALUES, 4.0),
    ],
)
def test_sizes(distance: Distance, size: float) -> None:
    assert distance(PERTURBATION).tolist() == pytest.approx([size])
    assert distance(torch.zeros(2, 3, 4)).tolist() == [0, 0]


def test_features_without_positions_are_pixels_of_one_value() -> None:
    features = torch.tensor([[0.0, 1.0, -2.0]])
    assert Distance.L0_PIXELS(features).tolist() == Distance.L0_VALUES(features).tolist() == [2]
    assert torch.equal(largest_channel(features), features.abs())
    assert largest_channel(PERTURBATION).flatten().tolist() == [0, 4, 2, 1]


def test_every_norm_is_a_distance_and_counts_are_not_norms() -> None:
    assert {distance.norm for distance in Distance} == {*Norm, None}
    assert Distance.L0_PIXELS.norm is Distance.L0_VALUES.norm is None
