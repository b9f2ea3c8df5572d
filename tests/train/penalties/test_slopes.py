"""Penalties on gradients with respect to inputs: closed forms, brute-force Jacobians and Hessians, and estimates."""

from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calipers.core.norms import Norm
from calipers.train.penalties.contractive import Contractive
from calipers.train.penalties.curvature import Curvature
from calipers.train.penalties.double_backprop import DoubleBackprop


def linear() -> tuple[nn.Linear, Tensor, Tensor]:
    torch.manual_seed(0)
    return nn.Linear(6, 4).double(), torch.randn(9, 6).double(), torch.randint(4, (9,))


def smooth() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Tanh(), nn.MaxPool2d(2, 1), nn.Flatten(), nn.Linear(8, 3)).double()
    return model, torch.randn(5, 1, 4, 4).double(), torch.randint(3, (5,))


def closed_slope(model: nn.Linear, x: Tensor, y: Tensor) -> Tensor:
    """Of the cross-entropy of a linear model."""
    return (model(x).softmax(1) - F.one_hot(y, 4)) @ model.weight


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("power", [1, 2])
def test_double_backprop_of_a_linear_model(norm: Norm, power: Literal[1, 2]) -> None:
    model, x, y = linear()
    expected = norm.dual(closed_slope(model, x, y)).pow(power).mean()
    found = DoubleBackprop(weight=1.0, norm=norm, power=power).value(model, x, y)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)


def test_double_backprop_is_how_fast_the_loss_can_rise() -> None:
    model, x, y = smooth()
    length = 1e-5
    for norm in (Norm.L2, Norm.LINF):
        here = x.clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(F.cross_entropy(model(here), y, reduction="sum"), here)
        steep = slope.sign() if norm is Norm.LINF else F.normalize(slope.flatten(1)).reshape(slope.shape)
        rise = F.cross_entropy(model(x + length * steep), y) - F.cross_entropy(model(x - length * steep), y)
        found = DoubleBackprop(weight=1.0, norm=norm, power=1).value(model, x, y)
        assert found.item() == pytest.approx(rise.item() / (2 * length), rel=1e-6)


def test_curvature_of_a_linear_model() -> None:
    model, x, y = linear()
    slope = closed_slope(model, x, y)
    z = slope.sign() / 6**0.5
    expected = (closed_slope(model, x + 0.7 * z, y) - slope).square().sum(1).mean()
    found = Curvature(weight=1.0, step=0.7).value(model, x, y)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)


def test_the_curvature_over_a_short_step_is_that_of_the_hessian() -> None:
    model, x, y = smooth()
    sizes = []
    for one, label in zip(x, y, strict=True):

        def loss(flat: Tensor, shape: torch.Size = one.shape, label: Tensor = label) -> Tensor:
            return F.cross_entropy(model(flat.reshape(1, *shape)), label[None])

        point = one.flatten()
        hessian = torch.autograd.functional.hessian(loss, point)
        slope = torch.autograd.functional.jacobian(loss, point)
        sizes.append((hessian @ F.normalize(slope.sign(), dim=0)).square().sum())
    found = Curvature(weight=1.0, step=1e-4).value(model, x, y) / 1e-8
    assert found.item() == pytest.approx(torch.stack(sizes).mean().item(), rel=1e-2)


def test_a_loss_without_a_slope_has_no_curvature() -> None:
    model, x, y = linear()
    nn.init.zeros_(model.weight)
    assert Curvature(weight=1.0).value(model, x, y).item() == 0


def test_the_contractive_penalty_of_a_linear_model_is_the_norm_of_its_weights() -> None:
    model, x, y = linear()
    expected = model.weight.square().sum()
    assert Contractive(weight=1.0).value(model, x, y).item() == pytest.approx(expected.item(), rel=1e-9)


def test_the_contractive_penalty_is_that_of_a_jacobian_row_by_row() -> None:
    model, x, y = smooth()
    norms = [torch.autograd.functional.jacobian(lambda z: model(z[None])[0], one).square().sum() for one in x]
    found = Contractive(weight=1.0).value(model, x, y)
    assert found.item() == pytest.approx(torch.stack(norms).mean().item(), rel=1e-9)


def test_projections_estimate_the_contractive_penalty_without_bias() -> None:
    model, x, y = smooth()
    exact = Contractive(weight=1.0).value(model, x, y).item()
    drawn = torch.stack([Contractive(weight=1.0, projections=2).value(model, x, y).detach() for _ in range(400)])
    error = float(drawn.std()) / 400**0.5
    assert drawn.mean().item() == pytest.approx(exact, abs=4 * error)
    assert 0 < error < 0.05 * exact
