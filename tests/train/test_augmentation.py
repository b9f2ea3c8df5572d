"""Crops of images."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from calipers.train.augmentation import Augmentation


@given(st.integers(0, 100), st.floats(0.2, 0.99))
def test_a_crop_is_a_window_of_the_image_at_full_size(seed: int, crop: float) -> None:
    """Of a plane: the crop is a plane too, whose slope is the window's share and whose values lie in the image's."""
    torch.manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(9.0), torch.arange(7.0), indexing="ij")
    images = torch.stack([rows, columns])[None].repeat(20, 1, 1, 1)
    cropped = Augmentation(crop=crop).apply(images)
    assert cropped.shape == images.shape
    inner = cropped[:, :, 1:-1, 1:-1]  # away from borders, beyond which the image is constant
    down, right = inner[:, 0].diff(dim=1), inner[:, 1].diff(dim=2)
    share = down.mean((1, 2))
    assert ((share > crop - 0.2) & (share < 1 + 1e-4)).all()
    assert (cropped[:, 0] >= 0).all()
    assert (cropped[:, 0] <= 8).all()
    assert torch.allclose(inner[:, 0].diff(dim=2), torch.zeros(()), atol=1e-4)
    assert torch.allclose(right.amax((1, 2)), down.amax((1, 2)), atol=1e-3)  # as large in both directions


def test_no_crop_is_no_change_and_draws_nothing() -> None:
    images = torch.rand(3, 1, 8, 8)
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    assert Augmentation().apply(images) is images
    assert torch.equal(torch.random.get_rng_state(), state)


def test_crops_differ_from_image_to_image() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 1, 8, 8).repeat(4, 1, 1, 1)
    cropped = Augmentation(crop=0.5).apply(image)
    assert not any(torch.allclose(cropped[i], cropped[j]) for i in range(4) for j in range(i))
    assert 0 <= float(cropped.min()) <= float(cropped.max()) <= 1
