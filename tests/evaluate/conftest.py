import pytest
import torch
from torch import nn

from calipers.core.digests import digest_module
from calipers.data.images import ImageDataset
from calipers.data.loading import load_dataset
from calipers.models.loading import LoadedModel


def tiny_net() -> nn.Module:
    """A small CNN fitted to a few digits in a second: right on most samples, breakable and provable on some."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2, 1), nn.Flatten(), nn.Linear(150, 10))
    x, y = load_dataset("digits", "train").batch(range(400))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def model() -> LoadedModel:
    net = tiny_net()
    return LoadedModel(net, "tiny", digest_module(net), (1, 8, 8), None, None)


@pytest.fixture(scope="session")
def digits() -> ImageDataset:
    return load_dataset("digits", limit=24)
