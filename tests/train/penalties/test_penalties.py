"""Every penalty: differentiable in the weights, on top of any objective, and refused where it does not fit."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from calipers.core.errors import InputError
from calipers.core.threat import ThreatModel
from calipers.data.loading import load_dataset
from calipers.models.loading import load_model
from calipers.train import OBJECTIVES, Recipe, load_recipe
from calipers.train.objective import DataShape, Progress, fitted
from calipers.train.objectives.registry import Inner
from calipers.train.objectives.settings import LossSettings
from calipers.train.objectives.standard import Standard
from calipers.train.penalties import PENALTIES
from calipers.train.penalties.curvature import Curvature
from calipers.train.penalties.penalised import Penalised
from tests.train.needed import NEEDED
from tests.train.penalties.finite import assert_differentiable

AT = Progress(0, 1, 0, 1)
LATER = Progress(0, 1, 1, 2)
INNER = Inner(ThreatModel("linf", 0.1).for_model(None), 2, 0.5)
SMOOTH = ("contractive", "curvature", "double-backprop")


@pytest.mark.parametrize("name", sorted(PENALTIES))
def test_gradients_of_the_weights_are_those_of_finite_differences(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4)).double()
    x, y = torch.randn(6, 5).double(), torch.randint(4, (6,))
    penalty = PENALTIES[name](weight=1.0)
    assert_differentiable(model, lambda: penalty.value(model, x, y))


@pytest.mark.parametrize("name", sorted(PENALTIES))
def test_a_penalised_loss_is_the_loss_and_the_weighted_penalty(name: str) -> None:
    model = load_model("digits.maxpool").module.requires_grad_(True).train()
    x, y = load_dataset("digits", "train", 16).batch(range(16))
    penalty = PENALTIES[name](weight=0.3)
    value = penalty.value(model, x, y)
    assert value > 0
    found = Penalised(Standard(), (penalty, penalty)).loss(model, x, y, AT)
    assert found.item() == pytest.approx((Standard().loss(model, x, y, AT) + 0.6 * value).item(), rel=1e-5)
    assert all(layer.training for layer in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_a_penalty_goes_on_top_of_every_objective(name: str) -> None:
    kind = OBJECTIVES[name]
    x, y = load_dataset("digits", "train", 16).batch(range(16))
    weights = []
    for penalties in ([], [{"name": "parseval", "weight": 10.0}]):
        model = load_model("digits.maxpool").module.requires_grad_(True)
        torch.manual_seed(0)
        settings = kind.settings(**NEEDED.get(name, {}), penalties=penalties)
        objective = fitted(kind.make(settings, INNER if kind.adversarial else None), DataShape((1, 8, 8), 10))
        state = objective.init(model, lambda parameters: torch.optim.SGD(parameters, 1e-3))
        objective.step(state, x, y, Progress(1, 2, 0, 1))
        weights.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert float((weights[0] - weights[1]).norm()) > 1e-3


@pytest.mark.parametrize("name", SMOOTH)
def test_slopes_are_seen_in_eval_mode_without_a_change_of_statistics(name: str) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(8)
    model = nn.Sequential(nn.Linear(5, 8), norm, nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    x, y = torch.randn(12, 5), torch.randint(3, (12,))
    model.train()(x)
    before = norm.get_buffer("running_mean").clone()
    penalty = PENALTIES[name](weight=1.0)
    value = penalty.value(model, x, y)
    assert torch.equal(norm.get_buffer("running_mean"), before)
    assert torch.equal(value, penalty.value(model.eval(), x, y))
    halves = [penalty.value(model, x[part], y[part]) for part in (slice(0, 6), slice(6, 12))]
    assert value.item() == pytest.approx(torch.stack(halves).mean().item(), rel=1e-5)


@pytest.mark.parametrize("name", ["curvature", "double-backprop"])
def test_samples_without_a_label_do_not_count(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Linear(5, 3)
    x, y = torch.randn(6, 5), torch.tensor([0, -1, 2, 1, -1, -1])
    penalty = PENALTIES[name](weight=1.0)
    assert torch.equal(penalty.value(model, x, y), penalty.value(model, x[y >= 0], y[y >= 0]))
    assert penalty.value(model, x, torch.full((6,), -1)).item() == 0


class Hard(nn.Module):
    """Its gradient cannot be differentiated."""

    def forward(self, x: Tensor) -> Tensor:
        return _Cubed.apply(x.flatten(1)[:, :3])


class _Cubed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * slope


@pytest.mark.parametrize("name", SMOOTH)
def test_a_model_whose_gradients_have_none_is_refused_before_the_first_step(name: str) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), Hard())
    x, y = torch.randn(2, 1, 2, 2), torch.tensor([0, 1])
    with pytest.raises(InputError, match=r"penalty \w+: gradients of the model cannot be differentiated"):
        Penalised(Standard(), (PENALTIES[name](weight=1.0),)).loss(model, x, y, AT)


def test_a_model_without_layers_that_could_be_orthonormal_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Bilinear(1, 1, 1))
    with pytest.raises(InputError, match="the model has Bilinear, Flatten, Sequential; accepted: linear and convolu"):
        PENALTIES["parseval"](weight=1.0).check(model, torch.zeros(1, 1))


@pytest.mark.parametrize(
    ("penalties", "message"),
    [
        ([{"weight": 1.0}], "a penalty lacks its name; accepted: contractive, curvature"),
        ([{"name": "parsival", "weight": 1.0}], "did you mean parseval"),
        ([{"name": "l1", "weight": 0.0}], "penalty l1: weight: Input should be greater than 0"),
        ([{"name": "l1", "weight": 1.0, "norm": "l2"}], "penalty l1: norm: Extra inputs"),
        ([{"name": "contractive"}], "penalty contractive: weight: Field required"),
        (["l1"], "penalties"),
        ("l1", "penalties"),
    ],
)
def test_faults_in_penalties_are_named(penalties: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LossSettings(penalties=penalties)
    with pytest.raises(ValidationError, match=message):
        Recipe(model="digits.small", data="digits", settings={"penalties": penalties})


def test_recipes_have_a_table_for_each_penalty(tmp_path: Any) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(
        'model = "digits.small"\ndata = "digits"\n[[settings.penalties]]\nname = "curvature"\nweight = 4\nstep = 0.5\n'
        '[[settings.penalties]]\nname = "parseval"\nweight = 0.001\n'
    )
    recipe = load_recipe(str(path))
    settings = LossSettings.model_validate(recipe.settings)
    assert [penalty.weight for penalty in settings.penalties] == [4, 0.001]
    assert settings.penalties[0] == Curvature(weight=4, step=0.5)
