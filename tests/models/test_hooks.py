"""Layers are seen and changed inside the context, and nowhere else."""

import pytest
import torch
from torch import Tensor, nn

from calipers.core.errors import InputError
from calipers.models.hooks import activations, named_layer, replacing, watching


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))


def test_activations_are_what_the_layer_computed_before_later_layers_change_it(net: nn.Sequential) -> None:
    x = torch.randn(5, 3, requires_grad=True)
    expected = net[0](x)
    with activations(net, "0") as seen:
        net(x)
        net(x)
    assert len(seen) == 2
    assert all(torch.equal(value, expected) for value in seen if isinstance(value, Tensor))
    net(x)
    assert len(seen) == 2
    first = seen[0]
    assert isinstance(first, Tensor)
    (gradient,) = torch.autograd.grad(first.sum(), x)
    assert torch.allclose(gradient, net.state_dict()["0.weight"].sum(0).expand(5, 3))


def test_a_replaced_layer_goes_on_with_the_change(net: nn.Sequential) -> None:
    x = torch.randn(5, 3)
    before = net(x)
    with replacing(net, "1", lambda value: torch.zeros_like(value)):
        assert torch.equal(net(x), net.state_dict()["2.bias"].expand(5, 2))
    assert torch.equal(net(x), before)


def test_hooks_are_gone_after_an_error(net: nn.Sequential) -> None:
    told = []
    with pytest.raises(RuntimeError), watching({net[0]: lambda *call: told.append(call)}):
        net(torch.randn(5, 7))
    net(torch.randn(5, 3))
    assert not told


def test_an_unknown_layer_is_named(net: nn.Sequential) -> None:
    with pytest.raises(InputError, match=r"layer 'fc' is not in the model; accepted: 0, 1, 2"):
        named_layer(net, "fc")
