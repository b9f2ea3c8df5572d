"""A small network with failures, for the tests of the room."""

import torch
from torch import nn

from calipers.bounds import WorkBudget
from calipers.core.threat import ThreatModel
from calipers.graph.from_torch import from_module
from calipers.repairs.change import Subject
from calipers.repairs.failing import Samples


def network(seed: int = 0, bias: bool = True) -> nn.Module:
    """Images (1, 4, 4) -> 3 logits, with a pool, a hidden layer and a last one."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 12),
        nn.ReLU(),
        nn.Linear(12, 3, bias=bias),
    )
    return model.eval().requires_grad_(False)


def subject(model: nn.Module, seed: int = 1, count: int = 60) -> tuple[Subject, Samples]:
    """Random images, labelled as the network has them, and others that are wrong since their labels were moved."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 1, 4, 4, generator=generator)
    labels = model(x).argmax(1)
    threat = ThreatModel("linf", 0.1).for_model(None)
    clean = Samples(x, labels, tuple(range(count)))
    wrong = torch.rand(4, 1, 4, 4, generator=generator)
    failures = Samples(wrong, (model(wrong).argmax(1) + 1) % 3, (100, 101, 102, 103), wrong)
    return Subject(model, from_module(model, x[:2]), clean, threat, WorkBudget()), failures
