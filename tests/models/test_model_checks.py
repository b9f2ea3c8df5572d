import math

import pytest
import torch
from torch import nn

from calipers.core.errors import InputError, ModelError
from calipers.models import check_labels, check_model

BATCH = torch.rand(4, 6)


class Answer(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


def test_a_plain_model_raises_no_doubts():
    assert check_model(nn.Linear(6, 3), BATCH, 3, torch.tensor([0, 1, 2, 0])) == ()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x[:, :2], r"output has shape \(4, 2\); accepted: \(4, 3\)"),
        (lambda x: x[:, :3, None], r"output has shape \(4, 3, 1\)"),
        (lambda x: x[0, :3], r"output has shape \(3,\)"),
        (lambda x: (x[:, :3],), "returned a tuple; accepted: one tensor"),
        (lambda x: x[:, :3].long(), "output is torch.int64"),
        (
            lambda x: x[:, :3] * torch.tensor([[1.0], [math.nan], [1.0], [math.inf]]),
            "on 2 of 4 samples, first on sample 1",
        ),
        (lambda x: torch.rand(4, 3), "two calls on the same batch differ"),
        (lambda x: x.reshape(5, 5), r"cannot be called on a batch of shape \(4, 6\) torch.float32 \(RuntimeError"),
    ],
)
def test_answers_that_cannot_be_measured(answer, message):
    with pytest.raises(ModelError, match=message):
        check_model(Answer(answer), BATCH, 3)


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(6), nn.Dropout(), nn.RReLU()])
def test_training_mode_is_refused_where_it_matters(layer):
    model = nn.Sequential(layer, nn.Linear(6, 3))
    with pytest.raises(ModelError, match=rf"layer '0' \({type(layer).__name__}\) is in training mode.*call .eval\(\)"):
        check_model(model, BATCH, 3)
    assert check_model(model.eval(), BATCH, 3) == ()


def test_probabilities_are_noticed():
    (warning,) = check_model(nn.Sequential(nn.Linear(6, 3), nn.Softmax(-1)), BATCH, 3)
    assert warning.code == "probabilities"
    assert "softmax" in warning.message
    assert check_model(nn.Sequential(nn.Linear(6, 3), nn.LogSoftmax(-1)), BATCH, 3) == ()
    assert check_model(nn.Sequential(nn.Linear(6, 3), nn.Sigmoid()), BATCH, 3) == ()


@pytest.mark.parametrize("label", [3, -1])
def test_labels_outside_the_classes_are_named(label):
    labels = torch.tensor([0, label, 2])
    with pytest.raises(InputError, match=f"sample 1 has label {label}, the model has 3 classes; accepted: 0 to 2"):
        check_labels(labels, 3)
