"""Every operator alone, from torch and from ONNX, against its original; what is refused says why."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from calipers.core.digests import digest_module
from calipers.core.errors import InputError, ModelError, UnsupportedLayerError
from calipers.graph import ops
from calipers.graph.check import check_graph
from calipers.graph.from_onnx import from_onnx, load_onnx, load_onnx_network
from calipers.graph.from_torch import from_module
from calipers.graph.rewrite import fuse_windows
from tests.graph.test_graphs import floats, onnx_file
from tests.nets import dense


class Function(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


MAP, SEQUENCE, VECTOR = (2, 6, 5), (3, 7), (6,)
W = torch.from_numpy(floats(5, 4))
TORCH = {
    "leaky": (MAP, nn.LeakyReLU(0.3)),
    "prelu": (MAP, nn.PReLU(2)),
    "sigmoid": (MAP, nn.Sigmoid()),
    "tanh": (MAP, nn.Tanh()),
    "softplus": (MAP, nn.Softplus(0.5, 30)),
    "relu6": (VECTOR, Function(lambda x: F.relu6(8 * x))),
    "hardtanh": (MAP, nn.Hardtanh(0.1, 0.4)),
    "hardsigmoid": (VECTOR, Function(lambda x: F.hardsigmoid(8 * x))),
    "one number": (VECTOR, Function(lambda x: F.relu(x[:, 0] - x[:, 1])[:, None] + x)),
    "numbers side by side": (VECTOR, Function(lambda x: torch.stack([x[:, 0] * 2, x.amax(1)], 1))),
    "conv1d": (SEQUENCE, nn.Conv1d(3, 4, 3, 2, padding=1, dilation=2)),
    "conv1d same": (SEQUENCE, nn.Conv1d(3, 3, 3, padding="same", groups=3)),
    "transposed": (MAP, nn.ConvTranspose2d(2, 4, (3, 2), 2, (1, 0), 1, groups=2)),
    "transposed dilated": (MAP, nn.ConvTranspose2d(2, 3, 3, 1, 2, (0, 1), dilation=2)),
    "transposed1d": (SEQUENCE, nn.ConvTranspose1d(3, 2, 3, 2, 1, 1)),
    "max1d": (SEQUENCE, nn.MaxPool1d(3, 2, 1)),
    "avg1d": (SEQUENCE, nn.AvgPool1d(3, 2, 1, count_include_pad=False)),
    "avg": (MAP, nn.AvgPool2d((3, 2), (2, 1), 1)),
    "avg without padding": (MAP, nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
    "avg by divisor": (MAP, nn.AvgPool2d(3, 2, 1, divisor_override=4)),
    "adaptive": (MAP, nn.AdaptiveAvgPool2d((3, 1))),
    "adaptive open": (MAP, nn.AdaptiveAvgPool2d((2, None))),
    "adaptive1d": (SEQUENCE, nn.AdaptiveAvgPool1d(1)),
    "mean": (MAP, Function(lambda x: x.mean((2, 3)))),
    "mean kept": (MAP, Function(lambda x: x.mean([-1, -2], keepdim=True))),
    "mean of channels": (MAP, Function(lambda x: x.mean(1))),
    "sum": (MAP, Function(lambda x: x.sum((1, 3)))),
    "linear along": (MAP, nn.Linear(5, 3)),
    "matmul": ((3, 5), Function(lambda x: x @ W)),
    "transpose": (MAP, Function(lambda x: x.transpose(1, 3))),
    "permute": (MAP, Function(lambda x: x.permute(0, 3, 1, 2))),
    "slice": (MAP, Function(lambda x: x[:, :, 1:-1, 2:])),
    "strided": (MAP, Function(lambda x: x[:, :, ::2, 1::3])),
    "select": (MAP, Function(lambda x: x[:, 1])),
    "last": (MAP, Function(lambda x: x[..., -1])),
    "narrow": (MAP, Function(lambda x: x.narrow(2, 1, 3))),
    "flip": (MAP, Function(lambda x: x.flip(-1))),
    "chunk": (MAP, Function(lambda x: x.chunk(2, 1)[1] - x.chunk(2, 1)[0])),
    "split": (MAP, Function(lambda x: torch.cat(x.split([1, 3, 2], 2)[::-1], 2))),
    "concat": (MAP, Function(lambda x: torch.cat([x, 2 * x], 1))),
    "stack": (VECTOR, Function(lambda x: torch.stack([x, -x], 2))),
    "pad": (MAP, nn.ConstantPad2d((1, 0, 2, 1), 0.7)),
    "crop": (MAP, nn.ZeroPad2d((-1, 1, 0, -2))),
    "reflect": (MAP, nn.ReflectionPad2d(1)),
    "replicate": (MAP, Function(lambda x: F.pad(x, (1, 2, 0, 1), mode="replicate"))),
    "expand": (VECTOR, Function(lambda x: x.unsqueeze(2).expand(-1, -1, 3))),
    "repeat": (VECTOR, Function(lambda x: x.repeat(1, 2))),
    "upsample": (MAP, nn.Upsample(scale_factor=2)),
    "shuffle": ((4, 2, 3), nn.PixelShuffle(2)),
    "broadcast": (VECTOR, Function(lambda x: x.unsqueeze(2) + x.unsqueeze(1) * torch.ones(2, 1, 1, 1)[0])),
    "subtract": (MAP, Function(lambda x: x.sigmoid() - x)),
    "maximum": (MAP, Function(lambda x: torch.maximum(x, 1 - 2 * x))),
    "minimum": (MAP, Function(lambda x: torch.min(x, 1 - 2 * x))),
    "maximum with constant": (MAP, Function(lambda x: torch.maximum(x, torch.tensor(0.3)))),
    "clamp": (MAP, Function(lambda x: x.clamp(0.2, 0.6))),
    "clamp from below": (MAP, Function(lambda x: x.clamp(min=0.2))),
    "clamp from above": (MAP, Function(lambda x: x.clamp_max(0.2))),
    "abs": (MAP, Function(lambda x: (x - 0.5).abs())),
    "negate": (MAP, Function(lambda x: -x)),
    "sizes": (MAP, Function(lambda x: x.reshape(x.size(0), x.size(1), -1).reshape(x.shape[0], -1))),
}


@pytest.mark.parametrize("name", TORCH)
def test_torch_operators(name: str) -> None:
    shape, module = TORCH[name]
    module = module.eval().requires_grad_(False)
    graph = from_module(module, torch.rand(2, *shape))
    x = torch.randn(5, *shape)
    assert torch.allclose(graph.evaluate(x), module(x), atol=1e-5)
    for node, value in zip(graph.nodes, graph.to(torch.float64).values(x.double()), strict=True):
        assert tuple(value.shape[1:]) == node.shape


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.reshape(-1, 4), "mixes"),
        (lambda x: x.transpose(0, 1), "mixes"),
        (lambda x: x[:1] + x, "mixes or drops samples"),
        (lambda x: torch.cat([x, x], 0), "batch dimension"),
        (lambda x: x.mean(0, keepdim=True) + x, "batch dimension"),
        (lambda x: x * x, "of two computed values"),
        (lambda x: torch.softmax(x, -1) * 2, "after a softmax"),
        (lambda x: x + torch.softmax(x, -1), "after a softmax"),
        (lambda x: torch.softmax(x.reshape(-1, 2, 4), 1), "over dimension 1 of 3"),
        (lambda x: F.softplus(x, threshold=2.0), "threshold"),
        (lambda x: x.half().float(), "to torch.float16, which rounds"),
        (lambda x: x.long() + x, "to torch.int64"),
        (lambda x: x.amax(0, keepdim=True) + x, "batch dimension"),
        (lambda x: x[torch.tensor([1, 0])], "samples"),
        (lambda x: torch.einsum("bi,bj->bij", x, x), "of two computed values"),
        (lambda x: x.masked_fill(torch.eye(8)[0] > 0, -torch.inf), "not finite"),
        (lambda x: x.masked_fill(x > 0, 0.0), "gt.Scalar"),
    ],
)
def test_what_torch_graphs_refuse(function, message: str) -> None:
    with pytest.raises(UnsupportedLayerError, match=rf"{message}.*supported: "):
        from_module(Function(function), torch.rand(2, 8))


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def node(kind: str, *inputs: str, **attributes) -> list:
    return [helper.make_node(kind, ["x", *inputs], ["y"], **attributes)]


ONNX = {
    "leaky": (node("LeakyRelu", alpha=0.4), {}),
    "prelu": (node("PRelu", "s"), {"s": floats(2, 1, 1)}),
    "sigmoid": (node("Sigmoid"), {}),
    "tanh": (node("Tanh"), {}),
    "softplus": (node("Softplus"), {}),
    "conv uneven": (node("Conv", "w", pads=[1, 0, 2, 1], strides=[2, 1]), {"w": floats(3, 2, 3, 2)}),
    "conv same": (node("Conv", "w", auto_pad="SAME_UPPER", strides=[2, 2]), {"w": floats(3, 2, 2, 3)}),
    "conv same lower": (node("Conv", "w", auto_pad="SAME_LOWER"), {"w": floats(3, 2, 2, 4)}),
    "transposed": (
        node("ConvTranspose", "w", "b", pads=[1, 0, 1, 0], strides=[2, 2], output_padding=[1, 0], group=2),
        {"w": floats(2, 2, 3, 3), "b": floats(4)},
    ),
    "transposed uneven": (node("ConvTranspose", "w", pads=[1, 0, 0, 0], strides=[2, 2]), {"w": floats(2, 3, 3, 3)}),
    "average": (node("AveragePool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 0]), {}),
    "average with padding": (node("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1), {}),
    "global": (node("GlobalAveragePool"), {}),
    "mean": (node("ReduceMean", axes=[2, 3], keepdims=0), {}),
    "mean, opset 18": (node("ReduceMean", "a"), {"a": ints(-1, 1)}),
    "sum": (node("ReduceSum", "a"), {"a": ints(1)}),
    "transpose": (node("Transpose", perm=[0, 2, 3, 1]), {}),
    "slice": (
        node("Slice", "b", "e", "a", "s"),
        {"b": ints(1, -1), "e": ints(5, -9), "a": ints(2, 3), "s": ints(2, -1)},
    ),
    "gather": (node("Gather", "i", axis=2), {"i": ints(3, 0, 3)}),
    "index": (node("Gather", "i", axis=1), {"i": np.array(-1, np.int64)}),
    "flatten": (node("Flatten"), {}),
    "reshape": (node("Reshape", "s"), {"s": ints(0, -1, 3)}),
    "squeeze": ([*node("Unsqueeze", "a"), helper.make_node("Squeeze", ["y", "a"], ["z"])], {"a": ints(1, 3)}),
    "unsqueeze, opset 11": (
        [helper.make_node("Unsqueeze", ["c"], ["u"], axes=[1, 2]), *node("Add", "u")],
        {"c": floats(2)},
    ),
    "resize": (node("Resize", "", "f", mode="nearest"), {"f": np.array([1, 1, 2, 3], np.float32)}),
    "upsample, opset 9": (node("Upsample", "f"), {"f": np.array([1, 1, 2, 2], np.float32)}),
    "expand": (node("Expand", "s"), {"s": ints(3, 1, 2, 6, 6)[1:]}),
    "tile": (node("Tile", "s"), {"s": ints(1, 2, 1, 1)}),
    "space": (node("SpaceToDepth", blocksize=2), {}),
    "pad": (node("Pad", "p", "v"), {"p": ints(0, 0, 1, 0, 0, 1, 0, -2), "v": np.array(0.5, np.float32)}),
    "pad axes, opset 18": (node("Pad", "p", "", "a"), {"p": ints(1, 2), "a": ints(-1)}),
    "pad edge": (node("Pad", "p", mode="edge"), {"p": ints(0, 0, 1, 0, 0, 0, 0, 2)}),
    "clip": (node("Clip", "low", "high"), {"low": np.array(0.1, np.float32), "high": np.array(0.6, np.float32)}),
    "clip above": (node("Clip", "", "high"), {"high": np.array(0.6, np.float32)}),
    "max": (node("Max", "c"), {"c": floats(6)}),
    "min": ([helper.make_node("Neg", ["x"], ["n"]), *node("Min", "n")], {}),
    "abs": (node("Abs"), {}),
    "sub": ([helper.make_node("Sigmoid", ["x"], ["n"]), *node("Sub", "n")], {}),
    "sum of three": (node("Sum", "x", "x"), {}),
    "concat": ([helper.make_node("Neg", ["x"], ["n"]), *node("Concat", "n", axis=-3)], {}),
    "split": (
        [
            helper.make_node("Split", ["x", "s"], ["p", "q"], axis=2),
            helper.make_node("Concat", ["q", "p"], ["y"], axis=2),
        ],
        {"s": ints(2, 4)},
    ),
    "shape": (
        [
            helper.make_node("Shape", ["x"], ["s"]),
            helper.make_node("Gather", ["s", "zero"], ["b"], axis=0),
            helper.make_node("Concat", ["b", "rest"], ["t"], axis=0),
            *node("Reshape", "t"),
        ],
        {"zero": ints(0), "rest": ints(-1)},
    ),
    "matmul along": (node("MatMul", "m"), {"m": floats(6, 4)}),
    "constant": (
        [helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(floats(6))), *node("Mul", "c")],
        {},
    ),
}


@pytest.mark.parametrize("name", ONNX)
def test_onnx_operators(tmp_path, name: str) -> None:
    nodes, constants = ONNX[name]
    _, _, said = name.partition(", opset ")
    opset = int(said or 17)
    path = onnx_file(tmp_path / "net.onnx", nodes, constants, (1, 2, 6, 6), nodes[-1].output[0], None, opset)
    from_onnx(path)  # compares with onnxruntime, and raises where it differs


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        (node("MaxPool", kernel_shape=[2, 2], strides=[7, 7], pads=[2, 0, 2, 0]), {}, "a window of padding alone"),
        (node("AveragePool", kernel_shape=[2, 2], auto_pad="SAME"), {}, "auto_pad"),
        (node("Mul", "x"), {}, "of two computed values"),
        (node("Softmax", axis=1), {}, "over dimension 1"),
        (node("Cast", to=TensorProto.INT32), {}, "to INT32"),
        (node("Elu"), {}, "Elu of x"),
        (node("Resize", "", "f", mode="linear"), {"f": np.array([1, 2, 1, 1], np.float32)}, "over .* the channels"),
        (
            node("Resize", "", "f", mode="linear"),
            {"f": np.array([1, 1, 99, 99], np.float32)},
            "of 36 by 352836 entries",
        ),
        (node("Relu", domain="com.example"), {}, "of the domain"),
    ],
)
def test_what_onnx_graphs_refuse(tmp_path, nodes, constants, message: str) -> None:
    path = onnx_file(tmp_path / "net.onnx", nodes, constants, (1, 2, 6, 6))
    with pytest.raises(UnsupportedLayerError, match=rf"{message}.*supported: "):
        from_onnx(path)


def vector_file(path, kind: int, dtype: type) -> Path:
    """A network of vectors without a batch dimension."""
    nodes = [
        helper.make_node("MatMul", ["a", "x"], ["h"]),
        helper.make_node("Add", ["h", "b"], ["s"]),
        helper.make_node("Relu", ["s"], ["r"]),
        helper.make_node("MatMul", ["r", "c"], ["y"]),
    ]
    constants = {"a": floats(4, 3), "b": floats(4), "c": floats(4, 2)}
    initializers = [numpy_helper.from_array(value.astype(dtype), name) for name, value in constants.items()]
    x, y = (helper.make_tensor_value_info(name, kind, [n]) for name, n in (("x", 3), ("y", 2)))
    opsets = [helper.make_opsetid("", 17)]
    graph = helper.make_graph(nodes, "net", [x], [y], initializers)
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def test_a_vector_without_a_batch_dimension_is_one_sample(tmp_path) -> None:
    network = load_onnx_network(vector_file(tmp_path / "net.onnx", TensorProto.FLOAT, np.float32))
    assert network.graph.input_shape == (3,)
    x = torch.rand(5, 3)
    torch.testing.assert_close(network.run(x), network.graph.outputs(x))


@pytest.mark.parametrize("log", [False, True])
def test_a_softmax_at_the_end_is_set_apart(log: bool) -> None:
    body = nn.Linear(4, 3)
    net = nn.Sequential(body, nn.LogSoftmax(1) if log else nn.Softmax(-1)).eval().requires_grad_(False)
    graph = from_module(net, torch.rand(2, 4))
    x = torch.rand(5, 4)
    assert torch.equal(graph.evaluate(x), body(x))
    assert torch.allclose(graph.outputs(x), net(x))
    assert "margins are differences of logits" in graph.note
    for other in (graph.to(torch.float64), fuse_windows(graph)):
        assert other.tail is graph.tail


def test_only_the_order_of_a_softmax_can_be_asked_for() -> None:
    graph = from_module(nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)).eval(), torch.rand(2, 4))
    zero = torch.zeros(1, 1)
    graph.require_order(torch.tensor([[[2.0, 0.0, -2.0]]]), zero)
    for row, offset in [
        ([1.0, 0.0, 0.0], -0.5),
        ([2.0, -1.0, -1.0], 0.0),
        ([1.0, -1.0, 0.0], 0.1),
        ([1.0, -2.0, 0.0], 0),
    ]:
        with pytest.raises(InputError, match="compare two outputs"):
            graph.require_order(torch.tensor([[row]]), zero + offset)
    log = from_module(nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(1)).eval(), torch.rand(2, 4))
    log.require_order(torch.tensor([[[2.0, -1.0, -1.0]]]), zero + 0.1)
    with pytest.raises(InputError, match="compare two outputs"):
        log.require_order(torch.tensor([[[1.0, 0.0, 0.0]]]), zero)


def test_a_saturated_softmax_does_not_hide_a_difference() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Softmax(1)).eval().requires_grad_(False)
    dense(net, 0).weight.copy_(torch.tensor([[4.0, 4.0], [0.0, 0.0]]))
    dense(net, 0).bias.copy_(torch.tensor([60.0, 0.0]))
    graph = from_module(net, torch.rand(2, 2))
    moved = deepcopy(net)
    dense(moved, 0).bias.add_(torch.tensor([1.0, 0.0]))
    assert torch.allclose(moved(torch.rand(2, 2)), net(torch.rand(2, 2)))
    with pytest.raises(ModelError, match="differs"):
        check_graph(graph, moved)


def test_onnx_modules_keep_their_softmax_and_tell_it_in_their_digest(tmp_path) -> None:
    body = [helper.make_node("Gemm", ["x", "w"], ["g"])]
    shape, constants = (1, 4), {"w": floats(4, 3)}
    plain = onnx_file(tmp_path / "plain.onnx", body, constants, shape, "g", 2)
    soft = [*body, helper.make_node("Softmax", ["g"], ["y"])]
    path = onnx_file(tmp_path / "soft.onnx", soft, constants, shape, "y", 2)
    module = load_onnx(path)
    x = torch.rand(3, 4)
    assert torch.allclose(module(x).sum(1), torch.ones(3))
    assert torch.equal(module.graph.evaluate(x), load_onnx(plain)(x))
    assert digest_module(module) != digest_module(load_onnx(plain))


def test_what_the_output_does_not_need_is_left_out() -> None:
    def forward(x):
        unused = torch.relu(x).flip(1)
        return x * 2 + 0 * unused.shape[1]

    graph = from_module(Function(forward), torch.rand(2, 4))
    assert not any(isinstance(node.op, ops.Relu | ops.Gather) for node in graph.nodes)
