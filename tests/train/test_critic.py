"""The adversary critic: its parts by closed forms, and both players of a step."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calipers.core.errors import InputError
from calipers.data.loading import load_dataset
from calipers.models.loading import load_model
from calipers.train import OBJECTIVES
from calipers.train.objective import DataShape, Objective, Progress, State, fitted
from calipers.train.objectives.critic import updated
from calipers.train.objectives.critic_losses import critic_loss, cycle_loss, fooling_loss, gradient_penalty
from calipers.train.objectives.critic_network import CriticNetwork
from calipers.train.objectives.critic_targets import nearest_targets, uniform_targets

DIGITS = DataShape((1, 8, 8), 10)
BEFORE, AFTER = Progress(0, 3, 0, 1), Progress(1, 3, 0, 1)


def objective(shape: DataShape = DIGITS, **settings: Any) -> Objective:
    kind = OBJECTIVES["critic"]
    return fitted(kind.make(kind.settings(hidden=(32, 32), **settings), None), shape)


def digits(samples: int = 64) -> tuple[nn.Module, Tensor, Tensor]:
    model = load_model("digits.small").module.requires_grad_(True)
    return model, *load_dataset("digits", "train", samples).batch(range(samples))


def begun(made: Objective, model: nn.Module, rate: float = 1e-2) -> State:
    torch.manual_seed(0)
    return made.init(model, lambda parameters: torch.optim.SGD(parameters, rate))


def weights(network: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def test_in_pretraining_the_classifier_learns_alone() -> None:
    model, x, y = digits()
    made = objective()
    state = begun(made, model)
    critic = weights(state.networks["critic"])
    expected = F.cross_entropy(model(x), y).detach()
    after, metrics = made.step(state, x, y, BEFORE)
    assert metrics["loss"] == pytest.approx(float(expected), rel=1e-4)
    assert torch.equal(weights(after.networks["critic"]), critic)
    assert bool((after.values["confidence"] < 1).all())


def test_a_step_moves_both_players_and_its_loss_is_the_sum_of_its_terms() -> None:
    model, x, y = digits()
    made = objective(fooling=0.5, cycle=0.01)
    state, _ = made.step(begun(made, model), x, y, BEFORE)
    before = {name: weights(network) for name, network in state.networks.items()}
    _, metrics = made.step(state, x, y, AFTER)
    assert all(not torch.equal(before[name], weights(network)) for name, network in state.networks.items())
    terms = metrics["clean"] + 0.5 * metrics["fooling"] + 0.01 * metrics["cycle"]
    assert metrics["loss"] == pytest.approx(terms, rel=1e-4)
    assert metrics["changed"] > 0.5
    assert metrics["cycle"] > 0
    assert metrics["critic"] > 0


def test_without_its_terms_the_classifier_learns_as_from_cross_entropy() -> None:
    (model, x, y), (plain, *_) = digits(), digits()
    made = objective(fooling=0.0, cycle=0.0)
    made.step(begun(made, model), x, y, AFTER)
    optimizer = torch.optim.SGD(plain.parameters(), 1e-2)
    F.cross_entropy(plain.train()(x), y).backward()
    optimizer.step()
    assert torch.allclose(weights(model), weights(plain), atol=1e-7)


@pytest.mark.parametrize("targets", ["nearest", "uniform"])
def test_fooling_alone_makes_adversarial_inputs_look_more_natural(targets: str) -> None:
    """Against a critic that stays as it is, steps of the classifier lower the loss that goes through the attack."""
    model, x, y = digits(32)
    made = objective(fooling=20.0, cycle=0.0, targets=targets, critic_rate=1e-12)
    state, losses = begun(made, model), []
    state.networks["critic"].main[1].deviation = 0.0  # type: ignore[index, union-attr]
    for _ in range(12):
        torch.manual_seed(1)
        state, metrics = made.step(state, x, y, AFTER)
        losses.append(metrics["fooling"])
    assert min(losses[6:]) < losses[0]


def test_running_means_are_of_the_predicted_classes_that_a_batch_has() -> None:
    confidence = torch.tensor([1.0, 0.6, 0.8])
    own, predicted = torch.tensor([0.5, 0.7, 0.9]), torch.tensor([0, 0, 2])
    assert torch.allclose(updated(confidence, own, predicted), torch.tensor([0.8, 0.6, 0.85]))


def test_the_critic_s_loss_on_a_linear_critic_in_closed_form() -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    x, other = torch.rand(5, 6), torch.rand(4, 6)
    y, became = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([2, 2, 0, 1])
    sizes = critic[1].weight.detach().norm(dim=1)  # type: ignore[operator]
    natural = F.softplus(-critic(x)[torch.arange(5), y]).mean()
    adversarial = F.softplus(critic(other)[torch.arange(4), became]).mean()
    penalties = (sizes[y] - 1).square().mean() + (sizes[became] - 1).square().mean()
    found = critic_loss(critic, (x, y), (other, became), 10.0)
    assert float(found.detach()) == pytest.approx(float((natural + adversarial + 10 * penalties).detach()), rel=1e-5)
    fooled = F.softplus(-critic(other)[torch.arange(4), became]).mean()
    assert float(fooling_loss(critic, other, became).detach()) == pytest.approx(float(fooled.detach()), rel=1e-5)
    assert float(fooling_loss(critic, other[:0], became[:0])) == 0


def test_the_penalty_is_zero_where_gradients_have_length_one() -> None:
    x = torch.rand(3, 4, requires_grad=True)
    assert float(gradient_penalty(x[:, 0], x)) == pytest.approx(0, abs=1e-12)
    assert float(gradient_penalty(3 * x[:, 0], x)) == pytest.approx(4)


def test_cycles_are_measured_in_squared_distance() -> None:
    assert float(cycle_loss(torch.zeros(2, 3), torch.ones(2, 3))) == 3
    assert float(cycle_loss(torch.zeros(0, 3), torch.ones(0, 3))) == 0


def test_targets_are_the_nearest_of_the_other_classes_or_any_of_them() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(6, 4)
    x = torch.randn(200, 6, requires_grad=True)
    logits = layer(x)
    predicted = logits.argmax(1)
    margins = logits.amax(1, keepdim=True) - logits
    sizes = (layer.weight[predicted, None] - layer.weight).norm(dim=2)
    ratios = torch.where(sizes > 0, margins / sizes.clamp_min(1e-9), torch.inf)
    assert torch.equal(nearest_targets(x, logits), ratios.argmin(1))
    drawn = uniform_targets(x, logits)
    assert bool((drawn != predicted).all())
    pairs = set(zip(predicted.tolist(), drawn.tolist(), strict=True))
    assert len(pairs) == len(set(predicted.tolist())) * 3


def test_the_critic_s_noise_is_for_training_alone() -> None:
    torch.manual_seed(0)
    critic = CriticNetwork(64, (16,), 10)
    x = torch.rand(4, 1, 8, 8)
    assert not torch.equal(critic(x), critic(x))
    critic.eval()
    assert torch.equal(critic(x), critic(x))
    assert critic(x).shape == (4, 10)


class Once(torch.autograd.Function):
    """A layer whose gradient has none."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient


class Straight(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Once.apply(x)


def test_models_and_data_that_do_not_fit_are_named() -> None:
    with pytest.raises(InputError, match="critic: the data have 1 class; accepted: two or more"):
        objective(DataShape((1, 8, 8), 1))
    with pytest.raises(InputError, match="critic: gradients of the model cannot be differentiated"):
        begun(objective(), nn.Sequential(nn.Flatten(), nn.Linear(64, 10), Straight()))


def test_batch_statistics_are_those_of_natural_inputs() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
    _, x, y = digits()
    made = objective()
    made.step(begun(made, model, 0.0), x, y, AFTER)
    hidden = model[1](x.flatten(1))
    assert model.training
    assert torch.allclose(model[2].running_mean, 0.1 * hidden.mean(0), atol=1e-5)  # type: ignore[arg-type]
