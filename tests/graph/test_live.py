import pytest
import torch
from torch import nn

from calipers.graph.from_torch import from_module
from calipers.graph.live import LiveGraph, live_graph, tensors_of
from tests.nets import FAMILIES, random_net


@pytest.mark.parametrize("family", FAMILIES)
def test_the_live_graph_is_the_graph_of_the_module_as_it_is_now(family: str) -> None:
    net, shape = random_net(family, 1)
    live, x = LiveGraph.of(net, shape), torch.rand(4, *shape)
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    with torch.no_grad():
        now = live.at(tensors_of(net))
    torch.testing.assert_close(now.evaluate(x), from_module(net, x).evaluate(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_the_live_graph_are_those_of_the_module(family: str) -> None:
    net, shape = random_net(family, 2)
    net.requires_grad_(True)
    x, parameters = torch.rand(4, *shape), list(net.parameters())
    outputs = [net(x), LiveGraph.of(net, shape).at(tensors_of(net)).evaluate(x)]
    ours, theirs = (torch.autograd.grad(output.square().sum(), parameters) for output in outputs)
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)


def test_a_module_is_traced_once_and_keeps_its_mode() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.ReLU(), nn.Linear(4, 2)).train()
    assert live_graph(net, (3,)) is live_graph(net, (3,))
    assert net.training
    assert live_graph(nn.Sequential(nn.Linear(3, 2)), (3,)) is not live_graph(net, (3,))
