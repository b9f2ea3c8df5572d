"""Defensive distillation: its loss, and who learns when."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from calipers.core.errors import InputError
from calipers.data.loading import load_dataset
from calipers.models.loading import load_model
from calipers.train import OBJECTIVES
from calipers.train.objective import DataShape, Objective, Progress, State, fitted
from calipers.train.objectives.distillation import soft_cross_entropy

DIGITS = DataShape((1, 8, 8), 10)


def objective(shape: DataShape = DIGITS, **settings: Any) -> Objective:
    kind = OBJECTIVES["distillation"]
    return fitted(kind.make(kind.settings(**settings), None), shape)


def weights(state: State, name: str) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in state.networks[name].parameters()])


def batch() -> tuple[Tensor, Tensor]:
    return load_dataset("digits", "train", 48).batch(range(48))


def test_the_loss_by_hand() -> None:
    logits, target = torch.tensor([[2.0, 4.0], [0.0, 8.0]]), torch.tensor([[6.0, 0.0], [1.0, 1.0]])
    p, q = (target / 4).softmax(1), (logits / 4).log_softmax(1)
    assert float(soft_cross_entropy(logits, target, 4.0)) == pytest.approx(float(-(p * q).sum(1).mean()))


def test_the_teacher_learns_first_and_then_the_model_from_it() -> None:
    model, (x, y) = load_model("digits.small").module.requires_grad_(True), batch()
    made = objective(share=0.5, temperature=10.0)
    state = made.init(model, lambda parameters: torch.optim.SGD(parameters, 0.1))
    start = weights(state, "model")
    for epoch, teaching in ((0, 1), (1, 1), (2, 0), (3, 0)):
        before = {name: weights(state, name) for name in ("model", "teacher")}
        net = copy.deepcopy(state.networks["teacher" if teaching else "model"])
        target = y if teaching else (state.networks["teacher"].eval()(x) / 10).softmax(1).detach()
        expected = float(F.cross_entropy(net.train()(x) / 10, target).detach())
        state, metrics = made.step(state, x, y, Progress(epoch, 4, 0, 1))
        assert metrics["teaching"] == teaching
        assert metrics["loss"] == pytest.approx(expected, rel=1e-5)
        assert torch.equal(weights(state, "model"), before["model"]) == bool(teaching)
        assert torch.equal(weights(state, "teacher"), before["teacher"]) == (not teaching)
        assert all(parameter.requires_grad for parameter in state.networks["teacher"].parameters())
    assert not torch.equal(start, weights(state, "model"))


def test_a_given_teacher_stays_as_it_is() -> None:
    model, (x, y) = load_model("digits.small").module.requires_grad_(True), batch()
    made = objective(teacher="digits.robust")
    state = made.init(model, lambda parameters: torch.optim.SGD(parameters, 0.1))
    target = load_model("digits.robust").module(x)
    expected = soft_cross_entropy(model(x), target, 20.0).detach()
    state, metrics = made.step(state, x, y, Progress(0, 1, 0, 1))
    assert metrics["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert set(state.networks) == {"model"}


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(InputError, match=r"distillation: teacher digits\.small has 10 outputs, the data 3 classes"):
        objective(DataShape((1, 8, 8), 3), teacher="digits.small")
    made, (x, y) = objective(), batch()
    model = load_model("digits.small").module.requires_grad_(True)
    state = made.init(model, lambda parameters: torch.optim.SGD(parameters, 0.1))
    with pytest.raises(InputError, match="distillation: 1 epoch; accepted: 2 or more"):
        made.step(state, x, y, Progress(0, 1, 0, 1))
