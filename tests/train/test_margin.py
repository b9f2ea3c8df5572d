"""Margin maximisation: its terms by closed forms, brute force and finite differences, and what it refuses."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calipers.core.errors import InputError
from calipers.core.norms import Norm
from calipers.data.loading import load_dataset
from calipers.models.loading import load_model
from calipers.train.objective import DataShape, Progress, fitted
from calipers.train.objectives.margin import MarginMaximisation, MarginSettings, MarginTraining, hinge
from calipers.train.objectives.margin_sensitivity import geometric_margin, sensitivity, steepest_rival
from calipers.train.twice import two_sided

AT = Progress(0, 1, 0, 1)


def linear(outputs: int, seed: int = 0) -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, outputs)).double()
    return model, torch.randn(9, 6).double(), torch.randint(max(outputs, 2), (9,))


def weight_of(model: nn.Sequential) -> Tensor:
    layer = model[1]
    assert isinstance(layer, nn.Linear)
    return layer.weight


def digits() -> tuple[nn.Module, Tensor, Tensor]:
    return load_model("digits.maxpool").module.requires_grad_(True), *load_dataset("digits", "train", 16).batch(
        range(16)
    )


def loss_of(model: nn.Module, x: Tensor, y: Tensor, **settings: Any) -> Tensor:
    return MarginMaximisation(MarginSettings(**settings)).loss(model, x, y, AT)


def slow_slopes(model: nn.Module, x: Tensor) -> Tensor:
    """(batch, classes, values), one gradient after the other."""
    here = x.clone().requires_grad_(True)
    logits = model(here)
    slopes = [torch.autograd.grad(one.sum(), here, retain_graph=True)[0].flatten(1) for one in logits.unbind(1)]
    return torch.stack(slopes, 1)


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("power", [1, 2])
def test_of_a_linear_model_the_penalty_is_the_largest_difference_of_rows(norm: Norm, power: int) -> None:
    model, x, y = linear(4)
    weight = weight_of(model)
    gaps = norm.dual(weight[None] - weight[y][:, None])
    expected = hinge(model(x), y) + 0.3 * gaps.amax(1).pow(power).mean()
    assert loss_of(model, x, y, norm=norm, power=power, weight=0.3).item() == pytest.approx(expected.item(), rel=1e-8)


def test_a_single_output_is_the_binary_form_and_the_same_as_two() -> None:
    model, x, y = linear(1)
    sign = 2 * y - 1
    expected = (1 - sign * model(x)[:, 0]).clamp_min(0).mean() + 0.1 * weight_of(model).norm() ** 2
    assert loss_of(model, x, y).item() == pytest.approx(expected.item(), rel=1e-8)
    pair = nn.Sequential(model, Doubled())
    assert loss_of(pair, x, y).item() == pytest.approx(expected.item(), rel=1e-8)


class Doubled(nn.Module):
    """Two outputs from one, as other libraries have them: 0 and f."""

    def forward(self, f: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(f), f], 1)


@pytest.mark.parametrize("norm", list(Norm))
def test_the_steepest_rival_is_that_of_a_loop_over_all_classes(norm: Norm) -> None:
    model, x, y = digits()
    slopes = slow_slopes(model.eval(), x)
    sizes = norm.dual(slopes - slopes[torch.arange(16), y][:, None])
    here = x.clone().requires_grad_(True)
    logits = model(here)
    found = steepest_rival(logits, here, y, norm, None)
    assert torch.allclose(sizes.gather(1, found[:, None])[:, 0], sizes.amax(1), rtol=1e-5)
    among = steepest_rival(logits, here, y, norm, 3)
    others = logits.detach().scatter(1, y[:, None], -torch.inf)
    nearest = torch.zeros_like(others, dtype=torch.bool).scatter(1, others.topk(3).indices, True)
    expected = sizes.masked_fill(~nearest, -1).amax(1)
    assert torch.allclose(sizes.gather(1, among[:, None])[:, 0], expected, rtol=1e-5)
    assert torch.equal(steepest_rival(logits, here, y, norm, 1), others.argmax(1))


@pytest.mark.parametrize("settings", [{}, {"norm": "linf", "power": 1}, {"loss": "cross-entropy", "rivals": 2}])
def test_gradients_of_the_weights_are_those_of_finite_differences(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4)).double()
    x, y = torch.randn(6, 5).double(), torch.randint(4, (6,))
    loss_of(model, x, y, **settings).backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        direction = torch.randn_like(parameter)
        sides = []
        for side in (1e-6, -1e-6):
            with torch.no_grad():
                parameter.add_(side * direction)
            sides.append(loss_of(model, x, y, **settings).item())
            with torch.no_grad():
                parameter.sub_(side * direction)
        slope = (sides[0] - sides[1]) / 2e-6
        assert slope == pytest.approx(float((parameter.grad * direction).sum()), rel=1e-5, abs=1e-7)


def test_the_penalty_sees_batch_norm_as_in_eval_mode_and_reaches_its_weights() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(8)
    model = nn.Sequential(nn.Linear(5, 8), norm, nn.ReLU(), nn.Linear(8, 3))
    x, y = torch.randn(12, 5), torch.randint(3, (12,))
    model.train()(x)
    before = torch.zeros(8) + norm.get_buffer("running_mean")
    loss = loss_of(model, x, y)
    assert not torch.equal(norm.get_buffer("running_mean"), before)
    assert norm.training
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    norm.momentum = 0.0
    clean = hinge(model(x), y)
    here = x.clone().requires_grad_(True)
    steep = sensitivity(model.eval()(here), here, y, Norm.L2, None)
    assert loss.item() == pytest.approx((clean + 0.1 * steep.square().mean()).item(), rel=1e-5)


@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])
def test_the_geometric_margin_of_a_linear_model_is_the_distance_to_the_boundary(norm: Norm) -> None:
    model, x, y = linear(3)
    here = x.clone().requires_grad_(True)
    margins = geometric_margin(model(here), here, y, norm)
    weight, logits = weight_of(model).detach(), model(x).detach()
    for i, label in enumerate(y.tolist()):
        # To where a rival draws level along the steepest direction, at the model itself.
        reach = []
        for rival in set(range(3)) - {label}:
            w = weight[label] - weight[rival]
            step = w / w.norm() if norm is Norm.L2 else w.sign()
            gap = float(logits[i, label] - logits[i, rival])
            length = gap / float(step @ w)
            there = model((x[i] - length * step)[None])[0].detach()
            assert float(there[label] - there[rival]) == pytest.approx(0, abs=1e-9)
            reach.append(length)
        assert float(margins[i]) == pytest.approx(min(reach), rel=1e-8)


def test_a_step_learns_digits() -> None:
    model, x, y = digits()
    objective = fitted(MarginTraining(MarginSettings(weight=0.01)), DataShape((1, 8, 8), 10))
    state = objective.init(model, lambda parameters: torch.optim.Adam(parameters, 1e-3))
    losses = [objective.step(state, x, y, AT)[1]["loss"] for _ in range(20)]
    assert losses[-1] < losses[0]


def test_models_that_do_not_fit_are_refused() -> None:
    one, _, _ = linear(1)
    many = DataShape((6,), 4)
    with pytest.raises(InputError, match=r"margin: the model has 1 output, the data 4 classes; .* \(batch, 4\)$"):
        fitted(MarginTraining(MarginSettings()), many).init(one, lambda p: torch.optim.SGD(p, 0.1))
    three, _, _ = linear(3)
    with pytest.raises(InputError, match=r"3 outputs, the data 2 classes; .* whose sign tells"):
        fitted(MarginTraining(MarginSettings()), DataShape((6,), 2)).init(three, lambda p: torch.optim.SGD(p, 0.1))
    with pytest.raises(InputError, match="1 class"):
        fitted(MarginTraining(MarginSettings()), DataShape((6,), 1))
    fitted(MarginTraining(MarginSettings()), DataShape((6,), 2)).init(one, lambda p: torch.optim.SGD(p, 0.1))


def test_two_sided_scores_predict_by_the_sign() -> None:
    f = torch.tensor([[-2.0], [0.5]])
    assert two_sided(f).argmax(1).tolist() == [0, 1]
    assert torch.equal(two_sided(f)[:, 1] - two_sided(f)[:, 0], f[:, 0])
    assert torch.equal(hinge(two_sided(f), torch.tensor([0, 1])), F.relu(1 - torch.tensor([2.0, 0.5])).mean())
