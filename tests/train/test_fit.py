"""Models that do not fit the data are refused with what would be accepted."""

import pytest
import torch
from torch import Tensor, nn

from calipers.core.errors import InputError
from calipers.train.fit import check_fit, check_trainable
from calipers.train.objective import DataShape

SHAPE = DataShape((1, 4, 4), 3)


def net(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, outputs))


class Returns(nn.Module):
    """What it is told to, for two inputs."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> object:
        return self.output


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (net(1), r"it has 1 output, the data 3 classes; accepted: a model with 3 outputs, one per class, in a tensor"),
        (net(5), r"it has 5 outputs, the data 3 classes; accepted: a model with 3"),
        (nn.Linear(5, 3), r"it does not take inputs of shape \(1, 4, 4\) \("),
        (Returns((torch.zeros(2, 3),)), r"it returns a tuple; accepted: a model with 3"),
        (Returns(torch.zeros(2)), r"it returns the shape \(2,\) for 2 inputs"),
        (Returns(torch.zeros(1, 3)), r"it returns the shape \(1, 3\) for 2 inputs"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(model: nn.Module, message: str) -> None:
    model.train()
    with pytest.raises(InputError, match=message):
        check_fit("it", model, SHAPE)
    assert model.training


def test_one_output_does_for_two_classes_where_its_sign_tells() -> None:
    two = DataShape((1, 4, 4), 2)
    check_fit("it", net(3), SHAPE)
    check_fit("it", net(1), two, single=True)
    with pytest.raises(InputError, match=r"1 output, mine 2 classes; .* \(batch, 2\)$"):
        check_fit("it", net(1), two, "mine")
    with pytest.raises(InputError, match=r"3 outputs, the data 2 classes; .* or with 1 output whose sign"):
        check_fit("it", net(3), two, single=True)
    with pytest.raises(InputError, match="1 output, the data 3 classes"):
        check_fit("it", net(1), SHAPE, single=True)


def test_a_model_without_weights_is_refused() -> None:
    check_trainable("it", net(3))
    for model in (nn.Flatten(), net(3).requires_grad_(False)):
        with pytest.raises(InputError, match="it has no weights to train"):
            check_trainable("it", model)
