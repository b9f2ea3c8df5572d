"""Dropout: what is dropped, how often, and where."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calipers.train.objective import Progress
from calipers.train.objectives.dropout import Dropout, DropoutSettings, dropping

AT = Progress(0, 1, 0, 1)


def ones(layer: nn.Linear) -> nn.Linear:
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def network() -> nn.Sequential:
    """The identity, of which the values between layers show."""
    torch.manual_seed(0)
    return nn.Sequential(*(ones(nn.Linear(1000, 1000)) for _ in range(3))).train()


@pytest.mark.parametrize(("rate", "input_rate"), [(0.5, 0.0), (0.0, 0.2), (0.3, 0.1)])
def test_values_in_front_of_layers_are_dropped_at_their_rates(rate: float, input_rate: float) -> None:
    model = network()
    with dropping(model, rate, input_rate):
        found = model(torch.ones(50, 1000))
    kept = (1 - rate) ** 2 * (1 - input_rate)
    # All 50,000 values fall independently of each other.
    assert float((found > 0).float().mean()) == pytest.approx(kept, abs=5 * (kept * (1 - kept) / 50000) ** 0.5)
    assert torch.allclose(found[found > 0], torch.tensor(1 / kept))
    assert torch.equal(model(torch.ones(2, 1000)), torch.ones(2, 1000))


def test_in_eval_mode_nothing_is_dropped() -> None:
    model = network().eval()
    with dropping(model, 0.5, 0.5):
        assert torch.equal(model(torch.ones(2, 1000)), torch.ones(2, 1000))


def test_convolutions_drop_nothing_unless_they_come_first() -> None:
    dropped: list[nn.Module] = []

    def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if bool((inputs[0] == 0).any()):
            dropped.append(layer)

    model = nn.Sequential(nn.Conv2d(1, 9, 2), nn.Conv2d(9, 9, 2), nn.Flatten(), nn.Linear(36, 90), nn.Linear(90, 2))
    with dropping(model.train(), 0.5, 0.0):
        for layer in model:
            layer.register_forward_pre_hook(look)
        model(torch.randn(8, 1, 4, 4))
    assert dropped == [model[3], model[4]]


def test_without_a_rate_it_is_cross_entropy() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3)).train()
    x, y = torch.randn(5, 6), torch.randint(3, (5,))
    assert torch.equal(Dropout(DropoutSettings(rate=0.0)).loss(model, x, y, AT), F.cross_entropy(model(x), y))
    assert not torch.equal(Dropout(DropoutSettings()).loss(model, x, y, AT), F.cross_entropy(model(x), y))
