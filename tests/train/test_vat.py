"""Virtual adversarial training against closed forms, and training with few labels."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calipers.core.errors import InputError
from calipers.core.tracker import Silent
from calipers.data.images import ImageDataset
from calipers.data.loading import load_dataset
from calipers.train import Recipe, Trainer
from calipers.train.objective import Progress
from calipers.train.objectives.vat import VATSettings, VirtualAdversarial

AT = Progress(0, 1, 0, 1)


def small() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).double()
    return net, torch.rand(6, 1, 3, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0, 1])


def curvature(net: nn.Module, x: Tensor) -> Tensor:
    """The Hessian of the divergence at x itself, W' (diag p - p p') W for a linear layer W."""
    weight: Tensor = net[1].weight.detach()  # type: ignore[index]
    p = net(x).softmax(1).detach()
    inner = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    return weight.T @ inner @ weight


def test_the_power_method_finds_the_direction_of_largest_curvature() -> None:
    net, x, _ = small()
    torch.manual_seed(1)
    many = VirtualAdversarial(VATSettings(iterations=200, probe=1e-4)).direction(net, x).flatten(1)
    largest = torch.linalg.eigh(curvature(net, x)).eigenvectors[:, :, -1]
    assert torch.allclose((many * largest).sum(1).abs(), torch.ones(6, dtype=torch.float64), atol=1e-4)


def test_one_iteration_is_one_product_with_the_hessian() -> None:
    net, x, _ = small()
    torch.manual_seed(1)
    found = VirtualAdversarial(VATSettings(probe=1e-4)).direction(net, x).flatten(1)
    torch.manual_seed(1)
    first = F.normalize(torch.randn(x.shape, dtype=x.dtype).flatten(1))
    expected = F.normalize(torch.einsum("bij,bj->bi", curvature(net, x), first))
    assert torch.allclose(found, expected, atol=1e-3)


def test_the_loss_is_the_sum_of_its_terms() -> None:
    net, x, y = small()
    settings = VATSettings(epsilon=0.5, weight=2.0, entropy=0.3)
    torch.manual_seed(1)
    d = VirtualAdversarial(settings).direction(net, x)
    assert torch.allclose(d.flatten(1).norm(dim=1), torch.ones(6, dtype=torch.float64))
    p, q = net(x).softmax(1), net(x + 0.5 * d).softmax(1)
    divergence = (p * (p / q).log()).sum(1).mean()
    entropy = -(p * p.log()).sum(1).mean()
    torch.manual_seed(1)
    found = VirtualAdversarial(settings).loss(net, x, y, AT)
    assert torch.allclose(found, F.cross_entropy(net(x), y) + 2 * divergence + 0.3 * entropy, rtol=1e-8)


def test_the_prediction_at_the_sample_itself_is_constant() -> None:
    net, x, y = small()
    torch.manual_seed(1)
    d = VirtualAdversarial(VATSettings(epsilon=0.5)).direction(net, x)
    torch.manual_seed(1)
    loss = VirtualAdversarial(VATSettings(epsilon=0.5)).loss(net, x, torch.full_like(y, -1), AT)
    bias: Tensor = net[1].bias  # type: ignore[index]
    (found,) = torch.autograd.grad(loss, bias)
    p, q = net(x).softmax(1).detach(), net(x + 0.5 * d).softmax(1).detach()
    assert torch.allclose(found, (q - p).mean(0), atol=1e-10)


def test_samples_without_a_label_count_in_the_divergence_alone() -> None:
    net, x, y = small()
    some = torch.where(torch.arange(6) < 2, y, -1)
    loss = VirtualAdversarial(VATSettings(weight=0.0)).loss(net, x, some, AT)
    assert torch.allclose(loss, F.cross_entropy(net(x[:2]), y[:2]))
    assert float(VirtualAdversarial(VATSettings(weight=0.0)).loss(net, x, some * 0 - 1, AT).detach()) == 0


@pytest.fixture(scope="module")
def data() -> ImageDataset:
    return load_dataset("digits", "train", 120)


def recipe(**changes: object) -> Recipe:
    settings = {"model": "digits.small", "data": "digits", "objective": "vat", "epochs": 2, "batch_size": 40}
    return Recipe.model_validate({**settings, "labelled": 50, **changes})


def test_labels_that_are_not_used_change_nothing(data: ImageDataset, tmp_path: Path) -> None:
    other = data.labels.clone()
    other[50:] = (other[50:] + 1) % 10
    used = data.labels.clone()
    used[:50] = (used[:50] + 1) % 10
    weights = []
    for name, labels in (("one", data.labels), ("two", other), ("three", used)):
        trainer = Trainer(recipe(), replace(data, labels=labels), tmp_path / f"{name}.json")
        trainer.epoch(1, Silent())
        weights.append(torch.load(trainer.checkpoint, weights_only=True)["state"]["networks"]["model"])
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())
    assert any(not torch.equal(weight, weights[2][name]) for name, weight in weights[0].items())


def test_where_labels_cannot_be_left_out_the_recipe_says_so(data: ImageDataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"objective 'standard' needs all labels; accepted with it: .*vat"):
        recipe(objective="standard")
    with pytest.raises(InputError, match="labelled = 121: there are 120 samples; accepted: 1 to 120"):
        Trainer(recipe(labelled=121), data, tmp_path / "net.json")
