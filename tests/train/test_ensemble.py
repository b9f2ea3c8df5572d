"""Ensemble adversarial training: whose adversarial samples a batch has, by closed forms on linear models."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calipers.core.errors import InputError
from calipers.core.threat import ThreatModel
from calipers.train import OBJECTIVES
from calipers.train.objective import DataShape, Minimised, Progress, fitted
from calipers.train.objectives.ensemble import EnsembleAdversarial, EnsembleSettings
from calipers.train.objectives.registry import Inner

AT = Progress(0, 1, 0, 1)
INNER = Inner(ThreatModel("linf", 0.1).for_model(None), 1, 1.0)


def linear(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 2))


def corner(net: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    """Where the loss of a linear model of two classes is largest."""
    weight: Tensor = net[1].weight  # type: ignore[assignment]
    return x + 0.1 * (weight[1 - y] - weight[y]).sign().reshape(x.shape)


def test_every_batch_is_perturbed_against_one_of_the_models_all_in_turn() -> None:
    model, sources = linear(0), (linear(1), linear(2))
    x, y = torch.full((8, 1, 4, 4), 0.5), torch.randint(2, (8,))
    loss = EnsembleAdversarial(INNER, sources, 0.25)
    possible = [
        float((0.25 * F.cross_entropy(model(x), y) + 0.75 * F.cross_entropy(model(corner(one, x, y)), y)).detach())
        for one in (*sources, model)
    ]
    seen = set()
    for seed in range(40):
        torch.manual_seed(seed)
        value = float(loss.loss(model, x, y, AT).detach())
        (which,) = [i for i, expected in enumerate(possible) if value == pytest.approx(expected, rel=1e-5)]
        seen.add(which)
    assert seen == {0, 1, 2}


def made(shape: DataShape, *sources: str) -> object:
    kind = OBJECTIVES["ensemble"]
    return fitted(kind.make(EnsembleSettings(sources=sources), INNER), shape)


def test_sources_have_to_fit_the_data() -> None:
    assert isinstance(made(DataShape((1, 8, 8), 10), "digits.small", "digits.robust"), Minimised)
    with pytest.raises(InputError, match=r"ensemble: source digits.small does not take inputs of shape \(1, 28, 28\)"):
        made(DataShape((1, 28, 28), 10), "digits.small")
    with pytest.raises(
        InputError,
        match=r"ensemble: source digits\.small has 10 outputs, the data 2 classes",
    ):
        made(DataShape((1, 8, 8), 2), "digits.small")
    with pytest.raises(ValueError, match="at least 1 item"):
        made(DataShape((1, 8, 8), 10))
