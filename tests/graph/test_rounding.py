"""What rounding can change in one operation, against exact arithmetic and against the libraries."""

from fractions import Fraction

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from torch import nn

from calipers.core.errors import ModelError
from calipers.graph import ops
from calipers.graph.check import check_graph
from calipers.graph.from_torch import from_module
from calipers.graph.rounding import deployed, forward_errors

SEEDS = st.integers(0, 2**16)


def grid() -> np.ndarray:
    """Single-precision numbers of all sizes, most of them where the functions bend."""
    small = np.logspace(-30, 2, 20_000)
    return np.concatenate([np.linspace(-100, 100, 100_001), np.linspace(-12, 12, 400_001), small, -small]).astype("f4")


def exact(name: str, x: np.ndarray) -> np.ndarray:
    decay = np.exp(-np.abs(x))
    match name:
        case "Sigmoid":
            return np.where(x >= 0, 1 / (1 + decay), decay / (1 + decay))
        case "Tanh":
            return np.tanh(x)
        case _:
            return np.maximum(x, 0) + np.log1p(decay)


@pytest.mark.parametrize("op", [ops.Sigmoid(), ops.Tanh(), ops.Softplus()], ids=lambda op: type(op).__name__)
def test_libraries_keep_to_the_stated_error_of_smooth_functions(op: ops.Op) -> None:
    name, x = type(op).__name__, grid()
    value = torch.from_numpy(exact(name, x.astype(np.float64)))
    allowed = deployed(op, [torch.from_numpy(x).abs()], value.abs())
    assert allowed is not None
    info = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [len(x)]) for n in "xy"]
    graph = helper.make_graph([helper.make_node(name, ["x"], ["y"])], "g", info[:1], info[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for found in (session.run(None, {"x": x})[0], op.evaluate(torch.from_numpy(x)).numpy()):
        assert bool(((torch.from_numpy(found).double() - value).abs() <= allowed).all())


@given(SEEDS, st.integers(1, 40), st.sampled_from([1.0, 1e3, 1e7]))
def test_sums_in_any_order_keep_to_the_error_of_a_linear_layer(seed: int, terms: int, large: float) -> None:
    random = np.random.default_rng(seed)
    weight, x = random.normal(size=terms).astype("f4"), (random.normal(size=terms) * large).astype("f4")
    bias = np.float32(random.normal() * large)
    op = ops.Linear(torch.from_numpy(weight)[None], torch.from_numpy(np.array([bias])))
    error = deployed(op, [torch.from_numpy(x)[None].abs()], torch.zeros(1, 1))
    assert error is not None
    true = sum((Fraction(float(w)) * Fraction(float(v)) for w, v in zip(weight, x, strict=True)), Fraction(float(bias)))
    for _ in range(5):
        parts = random.permutation(np.append(weight * x, bias).astype("f4"))
        total = np.float32(0)
        for part in parts:
            total = np.float32(total + part)
        assert abs(Fraction(float(total)) - true) <= Fraction(float(error))


@given(SEEDS)
def test_batch_norm_keeps_to_its_error_folded_or_not(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    mean, gain, shift = (torch.randn(3, generator=generator) * 10.0**p for p in (2, 0, 1))
    variance = torch.rand(3, generator=generator) * 1e-3
    op = ops.BatchNorm(mean, variance, gain, shift, 1e-5, 3)
    x = torch.randn(4, 3, 2, 2, generator=generator) * 100
    laid = [t.reshape(-1, 1, 1) for t in (mean, variance, gain, shift)]
    m, v, g, b = (t.double() for t in laid)
    true = (x.double() - m) / (v + 1e-5).sqrt() * g + b
    error = deployed(op, [x.abs()], true.abs())
    assert error is not None
    m, v, g, b = laid
    factor = g / (v + 1e-5).sqrt()
    for found in (op.evaluate(x), x * factor + (b - m * factor), (x - m) * factor + b):
        assert bool(((found.double() - true).abs() <= error).all())
    assert torch.allclose(x.double() * op.weight.double() + op.bias.double(), true, rtol=1e-5, atol=1e-2)


def test_what_only_copies_is_not_rounded() -> None:
    op = ops.Linear(torch.tensor([[0.0, -1.0], [0.5, 0.0], [1.0, 1.0], [0.3, 0.0]]), torch.tensor([0.0, 0.0, 0.0, 0.0]))
    error = deployed(op, [torch.ones(1, 2)], torch.ones(1, 4))
    assert error is not None
    assert (error == 0).tolist() == [[True, False, False, False]]
    assert float(error[0, 1]) == 2.0**-149  # half of the least number is none
    error = deployed(op, [torch.tensor([[1.0, 0.0]])], torch.ones(1, 4))
    assert error is not None
    assert (error == 0).tolist() == [[True, False, True, False]]
    for weight, owed in ((-1.0, 0.0), (2.0, 0.0), (0.25, 2.0**-149)):
        for scale in (ops.Scale(torch.tensor([weight]), torch.zeros(1)), ops.Divide(torch.tensor([1 / weight]))):
            error = deployed(scale, [torch.ones(1, 3)], torch.ones(1, 3))
            assert error is not None
            assert bool((error == owed).all())
    for same in (ops.Relu(), ops.Clamp(torch.tensor(-1e3), torch.tensor(1e3)), ops.MaxPool2d((2, 2), (2, 2))):
        assert deployed(same, [torch.ones(1, 1, 2, 2)], torch.ones(1, 1, 1, 1)) is None


def test_a_graph_may_differ_by_rounding_and_by_nothing_else() -> None:
    first = nn.Linear(50, 30)
    net = nn.Sequential(first, nn.Tanh(), nn.Linear(30, 3)).eval()
    graph = from_module(net, torch.rand(2, 50))
    order = torch.randperm(50)
    check_graph(graph, lambda x: net[1:](x[:, order] @ first.weight[:, order].T + first.bias))
    with pytest.raises(ModelError, match="rounding explains"):
        check_graph(graph, lambda x: net(x) + 1e-3)
    moves = from_module(nn.Sequential(nn.ReLU(), nn.Hardtanh(-0.25, 0.5), nn.Flatten()), torch.rand(2, 1, 3, 3))
    assert not bool(forward_errors(moves, torch.rand(4, 1, 3, 3))[-1].any())
    with pytest.raises(ModelError, match="differs from the original"):
        check_graph(moves, lambda x: moves.evaluate(x) * (1 + 2.0**-23))
