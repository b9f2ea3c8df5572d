import base64
import io

import numpy as np
import pytest
from PIL import Image

from calipers.core.errors import InputError
from calipers.report.gallery import LONGEST_SIDE, GalleryItem, changed_values, largest_changes, pictures


def item(original: np.ndarray, adversarial: np.ndarray) -> GalleryItem:
    return GalleryItem(3, 1, 2, original, adversarial, 0.1, 0.1, "pgd")


def decoded(uri: str) -> np.ndarray:
    head, data = uri.split(",", 1)
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_grey_and_rgb_pixels_survive() -> None:
    rng = np.random.default_rng(0)
    for channels in (1, 3):
        levels = rng.integers(0, 256, (channels, 5, 7))
        shown = pictures(item(levels / 255, levels / 255), (0.0, 1.0))
        assert np.array_equal(decoded(shown.original), levels[0] if channels == 1 else levels.transpose(1, 2, 0))
        assert shown.note == ""


def test_difference_is_signed_and_centred_at_grey() -> None:
    original = np.full((1, 1, 4), 0.5)
    change = np.array([0.0, 0.05, -0.05, 0.2])
    shown = pictures(item(original, original + change), (0.0, 1.0))
    assert decoded(shown.difference).tolist() == [[128, 191, 64, 255]]
    assert shown.saturated
    assert not shown.clipped


def test_values_outside_are_clipped_and_that_is_known() -> None:
    original = np.array([[[0.0, 1.0]]])
    shown = pictures(item(original, original + np.array([-0.1, 0.1])), None)
    assert shown.clipped
    assert decoded(shown.adversarial).tolist() == [[0, 255]]


def test_the_domain_sets_the_scale() -> None:
    original = np.array([[[-1.0, 0.0, 1.0]]])
    assert decoded(pictures(item(original, original), (-1.0, 1.0)).original).tolist() == [[0, 128, 255]]


def test_other_shapes_are_drawn_and_explained() -> None:
    rng = np.random.default_rng(1)
    assert pictures(item(*[rng.random((4, 6, 6))] * 2), None).note == "first of 4 channels"
    assert decoded(pictures(item(*[rng.random(9)] * 2), None).original).shape == (1, 9)
    large = pictures(item(*[rng.random((3, 224, 112))] * 2), None)
    assert large.note == "reduced from 112 by 224 pixels"
    assert decoded(large.original).shape == (LONGEST_SIDE, LONGEST_SIDE // 2, 3)


def test_shapes_that_cannot_be_a_pair_are_refused() -> None:
    with pytest.raises(InputError, match=r"sample 3 has shape \(1, 2, 2\).*\(1, 2, 3\)"):
        item(np.zeros((1, 2, 2)), np.zeros((1, 2, 3)))
    with pytest.raises(InputError, match="accepted"):
        item(np.zeros((1, 0)), np.zeros((1, 0)))


def test_the_largest_changes_come_first_with_their_places() -> None:
    rng = np.random.default_rng(2)
    original = rng.random((2, 3, 4, 5))
    change = np.zeros_like(original)
    change[1, 2, 0, 4], change[0, 0, 3, 1] = -0.5, 0.25
    shown = item(original, original + change)
    found = largest_changes(shown)
    assert [row.place for row in found] == [(1, 2, 0, 4), (0, 0, 3, 1)]
    assert [row.after - row.before for row in found] == pytest.approx([-0.5, 0.25])
    assert changed_values(shown) == 2
    noisy = item(original, original + rng.standard_normal(original.shape))
    sizes = [abs(row.after - row.before) for row in largest_changes(noisy, 7)]
    assert sizes == sorted(np.abs(noisy.adversarial - noisy.original).ravel(), reverse=True)[:7]
