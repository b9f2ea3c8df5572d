import numpy as np
import pytest
import torch
from torch import nn

from calipers.core.errors import InputError
from calipers.graph import ops
from calipers.graph.from_torch import from_module
from calipers.graph.graph import GraphModule
from calipers.repairs.layers import affine_layers, chosen_layer, cut_at, put_layer
from tests.repairs.subjects import network


def test_layers_are_named_as_in_the_model_first_to_last() -> None:
    model = network()
    layers = affine_layers(model, from_module(model, torch.rand(2, 1, 4, 4)))
    assert [(one.name, one.weight, one.bias) for one in layers] == [
        ("4", "4.weight", "4.bias"),
        ("6", "6.weight", "6.bias"),
    ]
    assert chosen_layer(model, from_module(model, torch.rand(2, 1, 4, 4))) == layers[-1]


@pytest.mark.parametrize("name", ["4", "6"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_cut_computes_what_the_network_computes(name: str, bias: bool) -> None:
    model, x = network(bias=bias), torch.rand(5, 1, 4, 4)
    graph = from_module(model, x)
    cut = cut_at(graph, chosen_layer(model, graph, name))
    outputs = torch.from_numpy(cut.inputs(x) @ cut.weight.T)
    found = outputs if cut.after is None else cut.after.to(torch.float64).evaluate(outputs)
    torch.testing.assert_close(found.float(), model(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(cut.repaired(cut.weight).evaluate(x), model(x), atol=0, rtol=0)


@pytest.mark.parametrize("name", ["4", "6"])
def test_new_weights_are_the_same_in_the_graph_and_in_the_model(name: str) -> None:
    model, x = network(), torch.rand(5, 1, 4, 4)
    graph = from_module(model, x)
    cut = cut_at(graph, chosen_layer(model, graph, name))
    weight = cut.weight + np.random.default_rng(0).normal(size=cut.weight.shape)
    put_layer(model, cut.state(weight))
    torch.testing.assert_close(cut.repaired(weight).evaluate(x), model(x), atol=0, rtol=0)


def test_weights_that_are_put_into_a_graphs_module_are_those_that_bounds_see() -> None:
    """What operations keep of their old weights, such as which rows only copy, goes with these."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4, bias=False)).eval().requires_grad_(False)
    put_layer(model, {"1.weight": torch.eye(4)})
    module = GraphModule(from_module(model, torch.rand(2, 4)))
    size = torch.ones(1, 4)
    assert _last(module).copies(size).all()
    put_layer(module, {next(name for name in module.state_dict() if "weight" in name): torch.full((4, 4), 0.3)})
    assert not _last(module).copies(size).any()
    torch.testing.assert_close(module(torch.ones(1, 4)), torch.full((1, 4), 1.2))


def _last(module: GraphModule) -> ops.Linear:
    op = module.graph.nodes[-1].op
    assert isinstance(op, ops.Linear)
    return op


def test_a_layer_that_does_not_exist_is_refused_with_what_there_is() -> None:
    model = network()
    with pytest.raises(InputError, match="'9' is no fully connected layer of the model; accepted: 4, 6"):
        chosen_layer(model, from_module(model, torch.rand(2, 1, 4, 4)), "9")


def test_a_network_without_a_fully_connected_layer_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 4), nn.Flatten()).eval()
    with pytest.raises(InputError, match="no fully connected layer"):
        chosen_layer(model, from_module(model, torch.rand(2, 1, 4, 4)))
