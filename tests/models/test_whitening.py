"""Fixed first layers: what they compute, that they are saved, and how far attacks and proofs go through them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from calipers.core.digests import digest_module
from calipers.core.errors import InputError, UnsupportedLayerError
from calipers.graph import ops
from calipers.graph.from_torch import from_module
from calipers.models import Whitened, Whitening, load_model, save_model
from calipers.models.whitening import GlobalContrast
from calipers.models.zoo import ZOO

SHAPE = (2, 3, 2)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(500, *SHAPE, generator=torch.Generator().manual_seed(3))


def whitened() -> Whitened:
    shape = (1, 8, 8)
    images = torch.rand(100, *shape, generator=torch.Generator().manual_seed(4))
    return Whitened(Whitening(shape, 8.0).fit(images), ZOO["digits.maxpool"].build()).eval().requires_grad_(False)


def test_contrasts_have_mean_0_and_one_length(images: torch.Tensor) -> None:
    found = GlobalContrast(7.0)(images.double())
    assert found.shape == images.shape
    assert float(found.flatten(1).mean(1).abs().max()) < 1e-12
    torch.testing.assert_close(found.flatten(1).norm(dim=1), torch.full((500,), 7.0).double())
    torch.testing.assert_close(GlobalContrast(7.0)(3 * images + 0.5), found.float(), rtol=1e-4, atol=1e-4)


def test_an_image_of_one_colour_becomes_0_and_has_a_gradient() -> None:
    x = torch.full((1, 3, 32, 32), 0.3, requires_grad=True)
    found = GlobalContrast()(x)
    assert float(found.detach().abs().max()) < 1e-2
    found[0, 0, 0, 0].backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())


@pytest.mark.parametrize("regularisation", [1e-6, 0.1, 3.0])
def test_zca_is_the_inverse_root_of_the_covariance(images: torch.Tensor, regularisation: float) -> None:
    layers = Whitening(SHAPE, 5.0).fit(images, regularisation)
    contrasts = layers.contrast(images.double()).flatten(1).numpy()
    covariance = np.cov(contrasts.T, bias=True)
    matrix = scipy.linalg.sqrtm(np.linalg.inv(covariance + regularisation * np.eye(12)))
    scale = np.abs(matrix).max()
    assert np.abs(layers.zca.matrix.numpy() - matrix).max() < 1e-3 * scale
    assert np.abs(layers.zca.mean.numpy() - contrasts.mean(0)).max() < 1e-6
    expected = (contrasts - contrasts.mean(0)) @ matrix.T
    assert np.abs(layers(images).flatten(1).numpy() - expected).max() < 1e-3 * np.abs(expected).max()


def test_it_has_nothing_to_train_and_its_statistics_are_in_the_state_dict(images: torch.Tensor) -> None:
    layers = Whitening(SHAPE).fit(images)
    assert list(layers.parameters()) == []
    assert set(layers.state_dict()) == {"contrast.length", "zca.mean", "zca.matrix"}
    assert torch.equal(layers.zca.matrix, layers.zca.matrix.T)
    # The same images give the same statistics, and with them the same digest.
    assert digest_module(Whitening(SHAPE).fit(images)) == digest_module(layers)
    assert digest_module(Whitening(SHAPE).fit(images[1:])) != digest_module(layers)


@pytest.mark.parametrize(
    ("count", "shape", "regularisation", "message"),
    [
        (9, (2, 3, 3), 0.1, r"shape \(2, 3, 3\); accepted: \(2, 3, 2\)"),
        (1, SHAPE, 0.1, "1 images and regularisation 0.1; accepted: at least 2"),
        (9, SHAPE, 0.0, "regularisation 0; accepted"),
        (9, SHAPE, float("nan"), "regularisation nan; accepted"),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    count: int, shape: tuple[int, ...], regularisation: float, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Whitening(SHAPE).fit(torch.rand(count, *shape), regularisation)


def test_a_saved_model_comes_back_with_its_statistics(tmp_path: Path) -> None:
    model, path = whitened(), tmp_path / "net.json"
    facts: dict[str, Any] = {"recipe": {}, "seed": 0, "data_digest": "", "metrics": {}}
    card = save_model(model, path, architecture="digits.maxpool", **facts)
    assert card.whitened == (1, 8, 8)
    loaded = load_model(str(path))
    assert (loaded.digest, loaded.input_shape) == (digest_module(model), (1, 8, 8))
    x = torch.rand(4, 1, 8, 8)
    assert torch.equal(loaded.module(x), model(x))
    plain = save_model(ZOO["digits.maxpool"].build(), path, architecture="digits.maxpool", **facts)
    assert plain.whitened is None


def test_gradients_at_raw_images_are_those_of_finite_differences() -> None:
    model = whitened().double()
    model.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).double()
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model, x)


def test_zca_is_read_as_affine_and_the_contrast_is_refused_by_name() -> None:
    """No bound knows a division by a norm, so nothing is proven of a whole model; behind the contrast it can be."""
    model, x = whitened(), torch.rand(2, 1, 8, 8)
    with pytest.raises(UnsupportedLayerError, match=r"layer 'whitening.contrast'"):
        from_module(model, x)
    behind = nn.Sequential(model.whitening.zca, model.net)
    torch.testing.assert_close(from_module(behind, x).evaluate(x), behind(x), rtol=1e-4, atol=1e-4)
    kinds = [type(node.op) for node in from_module(model.whitening.zca, x).nodes]
    assert set(kinds) <= {ops.Input, ops.Reshape, ops.Scale, ops.Linear}
    assert kinds.count(ops.Linear) == 1
