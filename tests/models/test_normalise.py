import pytest
import torch
from torch import nn

from calipers.core.errors import InputError
from calipers.models import Classifier, Normalise, input_std


def test_every_channel_is_shifted_and_scaled():
    x = torch.rand(2, 3, 4, 5)
    mean, std = [0.1, 0.2, 0.3], [0.5, 1.0, 2.0]
    expected = torch.stack([(x[:, c] - mean[c]) / std[c] for c in range(3)], 1)
    torch.testing.assert_close(Normalise(mean, std)(x), expected)


def test_it_is_no_part_of_a_state_dict_and_has_nothing_to_train():
    layer = Normalise([0.5], [0.25])
    assert layer.state_dict() == {}
    assert list(layer.parameters()) == []
    assert layer.std == [0.25]


@pytest.mark.parametrize(
    ("mean", "std", "message"), [([0.5], [0.5, 0.5], "1 means and 2"), ([0.5], [0.0], "must all be > 0")]
)
def test_what_cannot_normalise_is_refused(mean, std, message):
    with pytest.raises(InputError, match=message):
        Normalise(mean, std)


def test_the_std_of_the_first_layer_is_found():
    normalise, linear = Normalise([0.5], [0.25]), nn.Linear(2, 2)
    assert input_std(normalise) == (0.25,)
    assert input_std(nn.Sequential(nn.Sequential(normalise), linear)) == (0.25,)
    assert input_std(Classifier(linear, normalise=normalise)) == (0.25,)


def test_a_later_normalisation_is_not_the_inputs():
    normalise, linear = Normalise([0.5], [0.25]), nn.Linear(2, 2)
    assert input_std(nn.Sequential(linear, normalise)) is None
    assert input_std(Classifier(linear)) is None
    assert input_std(linear) is None
    assert input_std(nn.Sequential()) is None
