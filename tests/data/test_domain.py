import pytest
import torch

from calipers.core.errors import InputError
from calipers.data import ImageDataset
from calipers.data.domain import fit_domain

BYTES = torch.tensor([[[[0, 255], [128, 7]]]], dtype=torch.uint8)


def data(images: torch.Tensor) -> ImageDataset:
    return ImageDataset("mine", images, torch.tensor([0]), ("a",), ("kept",))


@pytest.mark.parametrize("domain", [None, (0.0, 1.0)])
def test_bytes_are_divided_by_255(domain) -> None:
    torch.testing.assert_close(fit_domain(data(BYTES), domain).batch([0])[0], BYTES / 255)


def test_bytes_stay_0_to_255_where_the_domain_says_so() -> None:
    fitted = fit_domain(data(BYTES), (0.0, 255.0))
    assert torch.equal(fitted.batch([0])[0], BYTES.float())
    assert fitted.notes == ("kept", "uint8 images were taken as floats 0..255, as the domain says")


@pytest.mark.parametrize("domain", [(-1.0, 1.0), (0.0, 2.0), (0.0, 256.0), (0.0, 0.5)])
def test_another_domain_for_bytes_is_an_error_that_names_both_ranges(domain) -> None:
    with pytest.raises(InputError, match=f"from 0 to 255 .*from {domain[0]:g} to {domain[1]:g}; accepted"):
        fit_domain(data(BYTES), domain)


def test_floats_are_left_as_they_are_inside_the_domain_and_refused_outside() -> None:
    floats = data(BYTES.float())
    assert fit_domain(floats, (0.0, 255.0)) is floats
    assert fit_domain(floats, None) is floats
    with pytest.raises(InputError, match=r"from 0 to 255, outside the domain from 0 to 1 .*divide by 255"):
        fit_domain(floats, (0.0, 1.0))
    with pytest.raises(InputError, match="from 0 to 255, outside the domain from -1 to 100 "):
        fit_domain(floats, (-1.0, 100.0))
