"""Gradients of a term with respect to weights, by finite differences."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn


def assert_differentiable(model: nn.Module, term: Callable[[], Tensor]) -> None:
    """In double precision, along a random direction of every parameter that the term depends on."""
    model.zero_grad(set_to_none=True)
    term().backward()
    reached = 0
    for parameter in model.parameters():
        direction = torch.randn_like(parameter)
        sides = []
        for side in (1e-6, -2e-6, 1e-6):
            sides.append(term().item())
            with torch.no_grad():
                parameter.add_(side * direction)
        slope = (sides[1] - sides[2]) / 2e-6
        if parameter.grad is None:
            assert slope == 0
            continue
        reached += 1
        assert slope == pytest.approx(float((parameter.grad * direction).sum()), rel=1e-4, abs=1e-7)
    assert reached
