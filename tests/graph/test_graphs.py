import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from calipers.core.digests import digest_module
from calipers.core.errors import InputError, ModelError, UnsupportedLayerError
from calipers.graph import ops
from calipers.graph.check import check_graph
from calipers.graph.from_onnx import from_onnx, load_onnx
from calipers.graph.from_torch import from_module
from tests.nets import FAMILIES, random_net


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(3))
def test_the_graph_computes_what_the_module_computes(family: str, seed: int) -> None:
    net, shape = random_net(family, seed)
    graph = from_module(net, torch.rand(2, *shape))
    x = torch.randn(5, *shape)
    assert torch.allclose(graph.evaluate(x), net(x), atol=1e-4)
    assert torch.allclose(graph.to(torch.float64).evaluate(x.double()), net.double()(x.double()), atol=1e-9)


def test_nodes_carry_the_names_of_layers() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU())
    assert [node.name for node in from_module(net.eval(), torch.rand(2, 1, 2, 2)).nodes] == ["input", "0", "1", "2"]


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding="same")

    def forward(self, x):
        h = torch.relu(self.conv(2 * x - 1))
        h = nn.functional.max_pool2d(h, 2)
        return (3 - h.view(h.shape[0], -1)) / 2


def test_functional_code_is_traced() -> None:
    net = Functional().eval()
    x = torch.rand(3, 1, 6, 6)
    assert torch.allclose(from_module(net, x).evaluate(x), net(x), atol=1e-5)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(16, 2), nn.ELU()), r"layer '2'.*elu.*supported: .*conv2d"),
        (nn.Sequential(nn.LPPool2d(2, 2), nn.Flatten()), r"layer '0'.*pow"),
    ],
)
def test_unsupported_layers_are_named(net: nn.Module, message: str) -> None:
    with pytest.raises(UnsupportedLayerError, match=message):
        from_module(net.eval(), torch.rand(2, 1, 4, 4))


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_control_flow_on_data_is_refused() -> None:
    with pytest.raises(ModelError, match=r"torch\.export cannot trace"):
        from_module(Branching(), torch.rand(2, 3))


def test_a_graph_that_differs_from_its_original_is_refused() -> None:
    net = nn.Sequential(nn.Linear(3, 2)).eval()
    graph = from_module(net, torch.rand(2, 3))
    with pytest.raises(ModelError, match="differs from the original by"):
        check_graph(graph, lambda x: net(x) + 0.1)


def test_wrong_input_shapes_name_both_shapes() -> None:
    graph = from_module(nn.Sequential(nn.Linear(3, 2)).eval(), torch.rand(2, 3))
    with pytest.raises(InputError, match=r"\(4,\).*\(3,\)"):
        graph.evaluate(torch.rand(1, 4))


def onnx_file(path, nodes, constants, input_shape=(1, 1, 6, 6), output="y", rank=4, opset=17):
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *input_shape[1:]])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None if rank is None else [None] * rank)],
        initializers,
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.example", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    model = onnx.shape_inference.infer_shapes(model) if rank is None else model
    onnx.save(model, path)
    return path


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_onnx_graphs_agree_with_onnxruntime(tmp_path) -> None:
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["n"]),
        helper.make_node("Conv", ["n", "w", "b"], ["c"], strides=[2, 1], pads=[1, 0, 1, 0], dilations=[1, 2]),
        helper.make_node("BatchNormalization", ["c", "s", "o", "m", "v"], ["bn"]),
        helper.make_node("Relu", ["bn"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[1, 1], pads=[1, 0, 1, 0]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "g", "gb"], ["h"], transB=1, alpha=0.5, beta=2.0),
        helper.make_node("MatMul", ["h", "mm"], ["k"]),
        helper.make_node("Add", ["k", "kb"], ["y"]),
    ]
    constants = {
        "mean": np.full((1, 1, 1, 1), 0.3, np.float32),
        "w": floats(3, 1, 3, 2),
        "b": floats(3),
        "s": floats(3),
        "o": floats(3),
        "m": floats(3),
        "v": np.abs(floats(3)) + 0.5,
        "g": floats(5, 3 * 4 * 3),
        "gb": floats(5),
        "mm": floats(5, 2),
        "kb": floats(2),
    }
    path = onnx_file(tmp_path / "net.onnx", nodes, constants, rank=2)
    graph = from_onnx(path)  # compares with onnxruntime, and raises where it differs
    assert {type(node.op) for node in graph.nodes} >= {ops.Conv2d, ops.MaxPool2d, ops.Linear, ops.Scale, ops.Relu}
    module = load_onnx(path)
    x = torch.rand(2, 1, 6, 6, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().sum()) > 0


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([helper.make_node("Erf", ["x"], ["y"], name="squash")], "'squash'.*Erf.*supported: .*Conv"),
        (
            [
                helper.make_node("MaxPool", ["x"], ["p", "i"], kernel_shape=[2, 2]),
                helper.make_node("Cast", ["i"], ["y"], to=1),
            ],
            "with indices",
        ),
        ([helper.make_node("Softmax", ["x"], ["y"], axis=1)], "over dimension 1"),
    ],
)
def test_onnx_operators_and_attributes_are_read_or_refused(tmp_path, nodes, message: str) -> None:
    with pytest.raises(UnsupportedLayerError, match=message):
        from_onnx(onnx_file(tmp_path / "net.onnx", nodes, {}))


def test_a_damaged_onnx_file_is_named(tmp_path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"\x00garbage")
    with pytest.raises(ModelError, match="not a valid ONNX file"):
        from_onnx(path)
    with pytest.raises(ModelError, match="no such file"):
        from_onnx(tmp_path / "missing.onnx")


def test_digests_tell_onnx_models_apart_that_differ_in_settings_only(tmp_path) -> None:
    files = [
        onnx_file(
            tmp_path / f"{stride}.onnx",
            [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[stride] * 2)],
            {},
        )
        for stride in (1, 2)
    ]
    one, two = (digest_module(load_onnx(file)) for file in files)
    assert one != two
