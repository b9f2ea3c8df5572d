"""The checker's own network against the graph it was read from."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import calipers.check
from calipers.check.layers import Convolution
from calipers.check.network import Maximum, Smooth
from calipers.verify.certify import network_of
from tests.nets import FAMILIES, random_graph


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", [0, 1])
def test_it_evaluates_as_the_graph_does(family: str, seed: int) -> None:
    graph = random_graph(family, seed)
    x = torch.rand(6, *graph.input_shape, dtype=torch.float64) * 2 - 0.5
    found = network_of(graph).evaluate(x.numpy())
    np.testing.assert_allclose(found, graph.evaluate(x).numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_go_backwards_as_values_go_forwards(family: str) -> None:
    network = network_of(random_graph(family, 2))
    random = np.random.default_rng(0)
    for node in network.nodes:
        if node.layer is None or isinstance(node.layer, Maximum | Smooth):
            continue
        shapes = [network.nodes[i].shape for i in node.inputs]
        values = [random.normal(size=(1, *shape)) for shape in shapes]
        rows = random.normal(size=(3, *node.shape))
        out = node.layer.forward(*values)[0]
        pulled = node.layer.backward(rows, shapes)
        left = (rows * out).reshape(3, -1).sum(1)
        right = sum((p * v).reshape(3, -1).sum(1) for p, v in zip(pulled, values, strict=True))
        right = right + (rows * node.layer.offset(node.shape)).reshape(3, -1).sum(1)
        np.testing.assert_allclose(left, right, atol=1e-10)
        assert (np.abs(out) <= node.layer.magnitude(*(np.abs(v) for v in values))[0] + 1e-10).all()


def test_grouped_dilated_convolutions() -> None:
    weight = torch.randn(6, 2, 3, 2, dtype=torch.float64)
    bias = torch.randn(6, dtype=torch.float64)
    x = torch.randn(2, 4, 9, 8, dtype=torch.float64)
    expected = torch.nn.functional.conv2d(x, weight, bias, (2, 1), (1, 2), (2, 1), 2)
    layer = Convolution(weight.numpy(), bias.numpy(), (2, 1), (1, 2), (2, 1), 2)
    np.testing.assert_allclose(layer.forward(x.numpy()), expected.numpy(), atol=1e-12)
    rows = torch.randn(2, *expected.shape[1:], dtype=torch.float64)
    pulled = torch.nn.functional.conv_transpose2d(rows, weight, None, (2, 1), (1, 2), (0, 0), 2, (2, 1))
    found = layer.backward(rows.numpy(), [(4, 9, 8)])[0]
    np.testing.assert_allclose(found[:, :, : pulled.shape[2], : pulled.shape[3]], pulled.numpy(), atol=1e-12)


def test_the_digest_sees_every_weight() -> None:
    graph = random_graph("conv", 0)
    before = network_of(graph).digest
    layer = next(node.op for node in graph.nodes if hasattr(node.op, "weight"))
    layer.weight.view(-1)[0] += 1e-12
    assert network_of(graph).digest != before


def test_the_room_needs_numpy_only() -> None:
    for file in Path(calipers.check.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else names
            for name in names:
                known = name.split(".")[0] in sys.stdlib_module_names or name.startswith(("numpy", "calipers.check"))
                assert known, f"{file.name} imports {name}"
