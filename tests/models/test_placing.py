"""Models on another device than the one that they were loaded on."""

import threading

import torch
from torch import nn

from calipers.graph.from_torch import from_module
from calipers.graph.graph import GraphModule
from calipers.models.functions import FunctionModel
from calipers.models.placing import placed
from calipers.models.presented import present
from tests.elsewhere import elsewhere

X = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3)).eval()


def test_a_module_is_copied() -> None:
    model = net()
    with elsewhere() as device:
        far = placed(model, device)
        assert torch.equal(far(X.to(device)).cpu(), model(X))
        assert {p.device for p in far.parameters()} == {device}
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert placed(model, torch.device("cpu")) is model


def test_a_graph_goes_with_its_module() -> None:
    module = GraphModule(from_module(net(), X[:2]))
    with elsewhere() as device:
        far = placed(module, device)
        assert isinstance(far, GraphModule)
        assert far.graph.device == device
        assert torch.equal(far(X.to(device)).cpu(), module(X))
    assert module.graph.device.type == "cpu"
    assert from_module(net(), X[:2]).to(torch.float64).nodes[-1].op.evaluate(torch.zeros(1, 5).double()).dtype is (
        torch.float64
    )


def test_what_a_model_wants_is_presented_elsewhere_too() -> None:
    model, _ = present(net().double(), X)
    with elsewhere() as device:
        far = placed(model, device)(X.to(device))
        assert far.device == device
        assert torch.equal(far.cpu(), model(X))


def test_what_cannot_be_copied_stays_where_it_is() -> None:
    inner = net()
    locked = net()
    locked.__dict__["lock"] = threading.Lock()
    with elsewhere() as device:
        for model in (FunctionModel(lambda x: inner(x) * 2), locked):
            far = placed(model, device)(X.to(device))
            assert far.device == device
            assert torch.equal(far.cpu(), model(X))
