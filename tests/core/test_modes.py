"""Models in another mode for a while."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from torch import nn

from calipers.core.modes import constant, evaluating, frozen


def net() -> nn.Sequential:
    """In train mode, its first layer not trained."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Linear(4, 2)).train()
    model[0].requires_grad_(False)
    return model


def state(model: nn.Module) -> tuple[list[bool], list[bool]]:
    return [layer.training for layer in model.modules()], [weight.requires_grad for weight in model.parameters()]


@pytest.mark.parametrize(
    ("mode", "evaluates", "freezes"), [(evaluating, True, False), (constant, False, True), (frozen, True, True)]
)
def test_a_model_is_as_it_was_afterwards_also_when_something_fails(
    mode: Callable[[nn.Module], AbstractContextManager[None]], evaluates: bool, freezes: bool
) -> None:
    model = net()
    before = state(model)
    with mode(model):
        modes, trained = state(model)
        assert any(modes) != evaluates
        assert any(trained) != freezes
        x = torch.ones(1, 3, requires_grad=True)
        model(x).sum().backward()
        assert x.grad is not None
        assert (model[2].weight.grad is None) == freezes
    assert state(model) == before
    with pytest.raises(KeyError), mode(model):
        raise KeyError
    assert state(model) == before
