"""ONNX files as people have them: graphs against onnxruntime, run by hand; what cannot work is said in a sentence."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from calipers.core.errors import ModelError, UnsupportedLayerError
from calipers.graph.from_onnx import OnnxNetwork, load_onnx, load_onnx_network
from tests.graph.test_graphs import floats

FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE


def model(nodes: list, constants: dict, sizes: list | None, outputs: list, opset: int = 17, kind: int = FLOAT):
    """A model of the input x. outputs: pairs of name and rank or sizes."""
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    ends = [
        helper.make_tensor_value_info(name, kind, [None] * shape if isinstance(shape, int) else shape)
        for name, shape in outputs
    ]
    given = [helper.make_tensor_value_info("x", kind, sizes)]
    graph = helper.make_graph(nodes, "net", given, ends, weights)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def node(kind: str, *inputs: str, to: str = "y", **attributes):
    return helper.make_node(kind, list(inputs), [to], **attributes)


def saved(folder: Path, *described, **more) -> Path:
    path = folder / "net.onnx"
    onnx.save(model(*described, **more), path)
    return path


def agrees(path: Path, full: tuple[int, ...], **choice) -> OnnxNetwork:
    """The network of a file, after a comparison of one sample with a session of its own. full: the shape it is fed."""
    network = load_onnx_network(path, **choice)
    session = onnxruntime.InferenceSession(path)
    given = session.get_inputs()[0]
    kind = np.float64 if given.type == "tensor(double)" else np.float32
    x = np.random.default_rng(1).standard_normal(full).astype(np.float32)
    samples = full[0] if int(np.prod(full)) != int(np.prod(network.graph.input_shape)) else 1
    names = [choice["output"]] if "output" in choice else None
    expected = session.run(names, {given.name: x.astype(kind)})[0].reshape(samples, -1)
    found = network.graph.outputs(torch.from_numpy(x).reshape(samples, *network.graph.input_shape))
    assert found.flatten(1).shape == expected.shape
    np.testing.assert_allclose(found.flatten(1).numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(
        network.run(torch.from_numpy(x).reshape(samples, *network.graph.input_shape)).flatten(1), expected, atol=1e-6
    )
    return network


W, V, B = floats(3, 5), floats(5, 2), floats(5)
MLP = [node("MatMul", "x", "w", to="h"), node("Relu", "h", to="r"), node("MatMul", "r", "v")]
MLP_CONSTANTS = {"w": W, "v": V}
INTS = {f"{name}": np.array(value, np.int64) for name, value in {"m1": [-1], "one_row": [1, -1], "three": [3]}.items()}


@pytest.mark.parametrize("batch", [1, 2, 3, 7, "n", None])
def test_any_batch_in_the_file(batch, tmp_path) -> None:
    path = saved(tmp_path, MLP, MLP_CONSTANTS, [batch, 3], [("y", [batch, 2])])
    network = agrees(path, (batch if isinstance(batch, int) else 4, 3))
    assert network.graph.input_shape == (3,)
    assert network.run(torch.rand(5, 3)).shape == (5, 2)


def test_a_batch_of_size_zero_is_open(tmp_path) -> None:
    network = load_onnx_network(saved(tmp_path, MLP, MLP_CONSTANTS, [0, 3], [("y", [0, 2])]))
    x = torch.rand(5, 3)
    torch.testing.assert_close(network.run(x), network.graph.outputs(x))


def test_all_entries_of_a_fixed_batch_are_one_input_where_the_property_says_so(tmp_path) -> None:
    path = saved(tmp_path, MLP, MLP_CONSTANTS, [4, 3], [("y", [4, 2])])
    assert agrees(path, (4, 3), inputs=12).graph.input_shape == (4, 3)
    assert agrees(path, (4, 3), inputs=3).graph.input_shape == (3,)


COLUMN = [
    node("MatMul", "w", "x", to="h"),
    node("Add", "h", "b", to="a"),
    node("Relu", "a", to="r"),
    node("MatMul", "v", "r"),
]
SHAPES: dict[str, tuple[list, dict[str, np.ndarray], list, int]] = {
    "column": (COLUMN, {"w": W.T, "b": B[:, None], "v": V.T}, [3, 1], 2),
    "columns": (COLUMN, {"w": W.T, "b": B[:, None], "v": V.T}, [3, 4], 2),
    "columns in a batch": (COLUMN, {"w": W.T, "b": B[:, None], "v": V.T}, ["n", 3, 4], 3),
    "vector from the left": ([node("MatMul", "w", "x")], {"w": floats(3)}, [3, 2], 1),
    "vector on the right": ([node("MatMul", "x", "w")], {"w": floats(3)}, ["n", 2, 3], 2),
    "no batch": (MLP, MLP_CONSTANTS, [3], 1),
    "no batch, image": (
        [node("Unsqueeze", "x", "o", to="u"), node("Conv", "u", "k", to="c"), node("Flatten", "c")],
        {"o": np.array([0], np.int64), "k": floats(2, 3, 2, 2)},
        [3, 4, 4],
        2,
    ),
    "product over the batch": ([node("Gemm", "x", "w", transA=1)], {"w": floats(1, 4)}, [1, 3], 2),
    "constant times input": (
        [node("Gemm", "w", "x", "b", alpha=0.5, beta=2.0)],
        {"w": floats(4, 3), "b": B[:4, None]},
        [3, 2],
        2,
    ),
    "input turned": ([node("Gemm", "w", "x", transA=1, transB=1)], {"w": floats(3, 4)}, [1, 3], 2),
    "numbers": (
        [
            node("ReduceMax", "x", to="m", axes=[1], keepdims=0),
            node("Mul", "m", "c", to="s"),
            node("Relu", "s", to="r"),
            node("Expand", "r", "e"),
        ],
        {"c": np.array(-0.7, np.float32), "e": np.array([3, 1], np.int64)},
        [1, 3],
        2,
    ),
    "factor": ([node("Gemm", "x", "w", "b", alpha=0.1, beta=0.3)], {"w": floats(3, 5), "b": B}, ["n", 3], 2),
    "a matrix in front": ([node("MatMul", "w", "x")], {"w": floats(1, 4, 3)}, ["n", 3, 2], 3),
    "computed bias": (
        [node("Neg", "x", to="c"), node("Gemm", "x", "w", "c", beta=0.5)],
        {"w": floats(3, 3)},
        ["n", 3],
        2,
    ),
    "ranks": (
        [
            node("Reshape", "x", "s", to="a"),
            node("Tile", "a", "t", to="b"),
            node("Add", "x", "b", to="c"),
            node("Flatten", "c"),
        ],
        {"s": np.array([-1, 1, 3], np.int64), "t": np.array([1, 4, 1], np.int64)},
        ["n", 3],
        2,
    ),
    "ranks the other way": (
        [
            node("Unsqueeze", "x", "a", to="u"),
            node("Sub", "u", "x", to="d"),
            node("Relu", "d", to="r"),
            node("Flatten", "r"),
        ],
        {"a": np.array([2], np.int64)},
        [1, 3],
        2,
    ),
    "constant of higher rank": (
        [node("Mul", "x", "c", to="m"), node("Max", "m", "x")],
        {"c": floats(4, 1, 3)},
        ["n", 3],
        3,
    ),
    "constant with rows": ([node("Add", "x", "c", to="a"), node("Relu", "a")], {"c": floats(4, 3)}, [1, 3], 2),
    "reshape to one row": (
        [node("Reshape", "x", "r", to="f"), node("MatMul", "f", "w")],
        {"r": np.array([1, -1], np.int64), "w": floats(8, 2)},
        ["n", 2, 2, 2],
        2,
    ),
    "reshape to nothing but entries": (
        [node("Reshape", "x", "r", to="f"), node("MatMul", "f", "w")],
        {"r": np.array([-1], np.int64), "w": floats(8, 2)},
        [1, 2, 2, 2],
        1,
    ),
    "reshape to the fixed batch": (
        [node("Reshape", "x", "r", to="f"), node("MatMul", "f", "w")],
        {"r": np.array([4, 8], np.int64), "w": floats(8, 2)},
        [4, 2, 2, 2],
        2,
    ),
    "constant of the batch": (
        [node("Add", "x", "c", to="a"), node("Relu", "a")],
        {"c": np.repeat(floats(1, 3), 4, 0)},
        [4, 3],
        2,
    ),
    "turned and back": (
        [
            node("Transpose", "x", to="t", perm=[1, 0]),
            node("MatMul", "w", "t", to="h"),
            node("Transpose", "h", perm=[1, 0]),
        ],
        {"w": W.T},
        [1, 3],
        2,
    ),
    "mean of everything": ([node("ReduceMean", "x", keepdims=0)], {}, [1, 2, 3], 0),
    "sum over the batch of one": (
        [node("ReduceSum", "x", "a", keepdims=0)],
        {"a": np.array([0], np.int64)},
        [1, 2, 3],
        2,
    ),
    "softmax of a column": ([*COLUMN[:2], node("Softmax", "a", axis=0)], {"w": W.T, "b": B[:, None]}, [3, 1], 2),
    "join along the batch of one": (
        [node("Neg", "x", to="n"), node("Concat", "x", "n", "c", axis=0)],
        {"c": floats(2, 3)},
        [1, 3],
        2,
    ),
    "pad of the batch of one": ([node("Pad", "x", "p")], {"p": np.array([1, 0, 0, 2], np.int64)}, [1, 3], 2),
}
SHAPES["a number"] = ([node("Mul", "x", "c", to="m"), node("Relu", "m")], {"c": floats(2)}, [], 1)
SHAPES["least of all"] = (
    [node("ReduceMin", "x", to="m", keepdims=0), node("Sub", "x", "m", to="d"), node("Abs", "d")],
    {},
    [1, 3],
    2,
)
SHAPES["one entry"] = (
    [node("Gather", "x", "i", to="g", axis=1), node("Unsqueeze", "g", "o", to="u"), node("Mul", "u", "c")],
    {"i": np.array(1), "o": np.array([1], np.int64), "c": floats(2)},
    ["n", 3],
    2,
)
SHAPES["one value"] = (
    [node("MatMul", "x", "w", to="s"), node("Squeeze", "s", "a")],
    {"w": floats(3, 1), "a": np.array([1], np.int64)},
    ["n", 3],
    1,
)


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_that_are_no_batch_of_samples(name: str, tmp_path) -> None:
    nodes, constants, sizes, rank = SHAPES[name]
    full = tuple(size if isinstance(size, int) else 1 for size in sizes)
    agrees(saved(tmp_path, nodes, constants, sizes, [("y", rank)]), full)


MASK = np.array([[True, False, True]])
MAP = [1, 2, 6, 5]
INT = np.int64
OPERATORS: dict[str, tuple[list, dict[str, np.ndarray], list]] = {
    "identity chain": ([node("Identity", "x", to="a"), node("Identity", "a", to="b"), node("Dropout", "b")], {}, MAP),
    "casts": (
        [
            helper.make_node("Cast", ["x"], ["a"], to=DOUBLE),
            node("Mul", "a", "c", to="b"),
            helper.make_node("Cast", ["b"], ["y"], to=FLOAT),
        ],
        {"c": np.array([0.5, 2, -1.25])},
        [1, 3],
    ),
    "hard sigmoid": ([node("HardSigmoid", "x", alpha=0.3, beta=0.4)], {}, MAP),
    "usual hard sigmoid": ([node("HardSigmoid", "x")], {}, MAP),
    "mask of a dropout": ([helper.make_node("Dropout", ["x"], ["d", "m"]), node("Where", "m", "d", "x")], {}, [1, 3]),
    "indices that nobody reads": ([helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2])], {}, MAP),
    "transposed, cropped unevenly": (
        [node("ConvTranspose", "x", "w", "b", pads=[2, 1, 0, 0], strides=[2, 1], output_padding=[1, 0])],
        {"w": floats(2, 3, 3, 2), "b": B[:3]},
        MAP,
    ),
    "transposed to a size": (
        [node("ConvTranspose", "x", "w", "b", output_shape=[13, 6], strides=[2, 1])],
        {"w": floats(2, 3, 3, 3), "b": B[:3]},
        MAP,
    ),
    "transposed to the same, upper": (
        [node("ConvTranspose", "x", "w", auto_pad="SAME_UPPER", strides=[2, 3])],
        {"w": floats(2, 3, 3, 4)},
        MAP,
    ),
    "transposed to the same, lower": (
        [node("ConvTranspose", "x", "w", auto_pad="SAME_LOWER", strides=[3, 2])],
        {"w": floats(2, 3, 4, 3)},
        MAP,
    ),
    "constants with roots and exponentials": (
        [
            node("Exp", "c", to="e"),
            node("Softmax", "e", to="s", axis=-1),
            node("Sqrt", "s", to="q"),
            node("Mul", "x", "q"),
        ],
        {"c": floats(5)},
        MAP,
    ),
    "cast like": ([node("CastLike", "x", "c")], {"c": np.array(1, np.float32)}, MAP),
    "constant on the left": ([node("Sub", "c", "x", to="a"), node("Mul", "c", "a")], {"c": floats(2, 6, 5)}, MAP),
    "mean of values": ([node("Neg", "x", to="n"), node("Mean", "x", "n", "c", "x")], {"c": floats(5)}, MAP),
    "sum with constants": ([node("Sum", "c", "x", "x")], {"c": floats(5)}, MAP),
    "where": ([node("Neg", "x", to="n"), node("Where", "m", "x", "n")], {"m": MASK}, [1, 3]),
    "where with constant": ([node("Where", "m", "c", "x")], {"m": MASK[0], "c": floats(3)}, [1, 3]),
    "where with infinity": (
        [node("Where", "m", "x", "c", to="a"), node("ReduceMax", "a", axes=[1])],
        {"m": MASK, "c": np.array(-1e30, np.float32)},
        [1, 3],
    ),
    "concat with constants": (
        [node("Neg", "x", to="n"), node("Concat", "a", "x", "b", "n", "c", axis=1)],
        {"a": floats(1, 1, 2), "b": floats(1, 2, 2), "c": floats(1, 3, 2)},
        [1, 4, 2],
    ),
    "constant of shape": (
        [
            node("Shape", "x", to="s"),
            node("ConstantOfShape", "s", to="c", value=numpy_helper.from_array(np.array([1.5], np.float32))),
            node("Concat", "x", "c", axis=-1),
        ],
        {},
        [2, 3],
    ),
    "gather elements": ([node("GatherElements", "x", "i", axis=1)], {"i": np.array([[2, 0, -1, 1]], INT)}, [1, 3]),
    "gather nd": ([node("GatherND", "x", "i", batch_dims=0)], {"i": np.array([[0, 2], [0, 0]], INT)}, [1, 3]),
    "gather list": ([node("Gather", "x", "i", axis=1)], {"i": np.array([[1, 0], [0, 1]], INT)}, MAP),
    "slice backwards": (
        [node("Slice", "x", "b", "e", "a", "s")],
        {
            "b": np.array([5, 0], INT),
            "e": np.array([-7, 5], INT),
            "a": np.array([2, 3], INT),
            "s": np.array([-2, 3], INT),
        },
        MAP,
    ),
    "running sum": ([node("CumSum", "x", "a")], {"a": np.array(2, INT)}, MAP),
    "triangle": ([node("Trilu", "x", upper=0)], {}, MAP),
    "einsum": ([node("Einsum", "x", "w", equation="bchw,co->bohw")], {"w": floats(2, 3)}, ["n", 2, 3, 2]),
    "stacked matrices": ([node("MatMul", "x", "w")], {"w": floats(2, 5, 3)}, MAP),
    "max pool, ceil": ([node("MaxPool", "x", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1)], {}, MAP),
    "max pool, ceil and pads": (
        [node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 1], ceil_mode=1)],
        {},
        MAP,
    ),
    "max pool, same": ([node("MaxPool", "x", kernel_shape=[2, 3], auto_pad="SAME_UPPER")], {}, MAP),
    "max pool, same lower": (
        [node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 1], auto_pad="SAME_LOWER")],
        {},
        MAP,
    ),
    "max pool, uneven": ([node("MaxPool", "x", kernel_shape=[3, 3], pads=[0, 1, 2, 0], dilations=[2, 1])], {}, MAP),
    "max pool, wide pads": ([node("MaxPool", "x", kernel_shape=[3, 3], pads=[2, 2, 2, 2])], {}, MAP),
    "max pool of a sequence": ([node("MaxPool", "x", kernel_shape=[3], pads=[0, 1], strides=[2])], {}, [1, 2, 8]),
    "max pool of a volume": (
        [node("MaxPool", "x", kernel_shape=[2, 2, 3], strides=[1, 2, 1], pads=[0, 0, 1, 1, 0, 1])],
        {},
        [1, 2, 3, 4, 4],
    ),
    "average pool, ceil": ([node("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)], {}, MAP),
    "average pool, uneven": ([node("AveragePool", "x", kernel_shape=[3, 2], pads=[0, 0, 2, 1])], {}, MAP),
    "average pool, uneven, counted": (
        [node("AveragePool", "x", kernel_shape=[3, 2], pads=[0, 0, 2, 1], count_include_pad=1)],
        {},
        MAP,
    ),
    "average pool, same": (
        [node("AveragePool", "x", kernel_shape=[2, 3], strides=[2, 1], auto_pad="SAME_UPPER")],
        {},
        MAP,
    ),
    "average pool of a sequence": ([node("AveragePool", "x", kernel_shape=[4], pads=[1, 0])], {}, [1, 2, 8]),
    "average pool of a volume": (
        [node("AveragePool", "x", kernel_shape=[2, 2, 2], pads=[1, 0, 0, 0, 0, 1])],
        {},
        [1, 2, 3, 4, 4],
    ),
    "max pool of a volume, evenly padded": (
        [node("MaxPool", "x", kernel_shape=[2, 3, 2], pads=[1, 0, 1, 1, 0, 1], dilations=[1, 1, 2])],
        {},
        [1, 2, 3, 4, 4],
    ),
    "nearest": ([node("Resize", "x", "", "f", mode="nearest")], {"f": np.array([1, 1, 1.5, 2.3], np.float32)}, MAP),
    "global max": ([node("GlobalMaxPool", "x")], {}, MAP),
    "global max of a sequence": ([node("GlobalMaxPool", "x")], {}, [1, 2, 8]),
    "largest over space": ([node("ReduceMax", "x", axes=[2, 3], keepdims=0)], {}, MAP),
    "largest over channels": ([node("ReduceMax", "x", axes=[1])], {}, MAP),
    "smallest over a side": ([node("ReduceMin", "x", axes=[-1], keepdims=0)], {}, MAP),
    "largest of all": ([node("ReduceMax", "x", keepdims=0)], {}, [1, 2, 3]),
    "bilinear": ([node("Resize", "x", "", "f", mode="linear")], {"f": np.array([1, 1, 2, 1.5], np.float32)}, MAP),
    "bilinear to sizes": (
        [node("Resize", "x", "", "", "s", mode="linear", coordinate_transformation_mode="align_corners")],
        {"s": np.array([1, 2, 4, 7], INT)},
        MAP,
    ),
    "bicubic": ([node("Resize", "x", "", "f", mode="cubic")], {"f": np.array([1, 1, 2, 2], np.float32)}, [1, 1, 4, 4]),
    "convolution of a volume": (
        [node("Conv", "x", "w", "b", group=2, strides=[1, 2, 1], pads=[1, 0, 1, 0, 1, 1], dilations=[2, 1, 1])],
        {"w": floats(4, 1, 2, 3, 2), "b": floats(4)},
        [1, 2, 4, 5, 4],
    ),
    "constant as floats": (
        [helper.make_node("Constant", [], ["c"], value_floats=[1.0, -2.0, 3.0]), node("Mul", "x", "c")],
        {},
        [1, 3],
    ),
    "constant as float": (
        [helper.make_node("Constant", [], ["c"], value_float=0.5), node("Add", "x", "c")],
        {},
        [1, 3],
    ),
    "constant as ints": (
        [helper.make_node("Constant", [], ["c"], value_ints=[1, 3, 1]), node("Reshape", "x", "c")],
        {},
        [1, 3],
    ),
    "constant as int": (
        [helper.make_node("Constant", [], ["c"], value_int=1), node("Unsqueeze", "x", "c")],
        {},
        [1, 3],
    ),
    "constant, sparse": (
        [
            helper.make_node(
                "Constant",
                [],
                ["c"],
                sparse_value=helper.make_sparse_tensor(
                    helper.make_tensor("v", FLOAT, [2], [2.0, -1.0]),
                    helper.make_tensor("i", TensorProto.INT64, [2], [0, 4]),
                    [3, 2],
                ),
            ),
            node("MatMul", "x", "c"),
        ],
        {},
        [1, 3],
    ),
    "chosen branch": (
        [
            helper.make_node("Shape", ["x"], ["s"]),
            helper.make_node("Size", ["s"], ["n"]),
            helper.make_node("Equal", ["n", "two"], ["e"]),
            helper.make_node(
                "If",
                ["e"],
                ["y"],
                then_branch=helper.make_graph(
                    [node("Relu", "x", to="t")], "then", [], [helper.make_tensor_value_info("t", FLOAT, [None, 3])]
                ),
                else_branch=helper.make_graph(
                    [node("Erf", "x", to="z")], "else", [], [helper.make_tensor_value_info("z", FLOAT, [None, 3])]
                ),
            ),
        ],
        {"two": np.array(2, INT)},
        ["n", 3],
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_that_cost_nothing(name: str, tmp_path) -> None:
    nodes, constants, sizes = OPERATORS[name]
    described = model(nodes, constants, sizes, [("y", None)])
    path = tmp_path / "net.onnx"
    onnx.save(described, path)
    agrees(path, tuple(size if isinstance(size, int) else 1 for size in sizes))


SOFTMAX: dict[str, tuple[int, list, list]] = {
    "then flattened": (17, [node("Softmax", "x", to="s", axis=1), node("Flatten", "s")], ["n", 3, 1, 1]),
    "of everything, opset 11": (11, [node("Softmax", "x", to="s", axis=1), node("Identity", "s")], ["n", 3, 2, 2]),
    "of the last dimension": (17, [node("LogSoftmax", "x", axis=-1)], ["n", 3]),
}


@pytest.mark.parametrize("name", SOFTMAX)
def test_a_softmax_whose_vector_is_all_of_a_sample(name: str, tmp_path) -> None:
    opset, nodes, sizes = SOFTMAX[name]
    network = agrees(saved(tmp_path, nodes, {}, sizes, [("y", 2)], opset=opset), (2, *sizes[1:]))
    assert network.graph.tail is not None


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 18, 21])
def test_opsets(opset: int, tmp_path) -> None:
    squeeze: dict[str, Any] = {"axes": [2]} if opset < 13 else {}
    axes = ["a"] if opset >= 13 else []
    nodes = [
        helper.make_node("Unsqueeze", ["x", *axes], ["u"], **squeeze),
        helper.make_node("Squeeze", ["u", *axes], ["s"], **squeeze),
        node("Gemm", "s", "w", "b", to="h"),
        node("Relu", "h", to="r"),
        node("Softmax", "r", axis=1),
    ]
    constants = {"w": W, "b": B} | ({"a": np.array([2], np.int64)} if axes else {})
    agrees(saved(tmp_path, nodes, constants, ["n", 3], [("y", 2)], opset=opset), (2, 3))


def test_local_functions_are_inlined(tmp_path) -> None:
    opsets = [helper.make_opsetid("", 17)]
    layer = helper.make_function("local", "Layer", ["a", "w"], ["o"], MLP_LAYER, opsets)
    outer = helper.make_function(
        "local",
        "Twice",
        ["a", "w"],
        ["o"],
        [
            helper.make_node("Layer", ["a", "w"], ["m"], domain="local"),
            helper.make_node("Layer", ["m", "w"], ["o"], domain="local"),
        ],
        [*opsets, helper.make_opsetid("local", 1)],
    )
    made = model(
        [helper.make_node("Twice", ["x", "w"], ["y"], domain="local")], {"w": floats(3, 3)}, ["n", 3], [("y", 2)]
    )
    made.functions.extend([layer, outer])
    path = tmp_path / "net.onnx"
    onnx.save(made, path)
    agrees(path, (2, 3))


MLP_LAYER = [node("MatMul", "a", "w", to="h"), node("Relu", "h", to="o")]


def test_one_of_several_outputs(tmp_path) -> None:
    nodes = [*MLP, node("Erf", "x", to="unsupported"), node("Flatten", "r", to="hidden")]
    path = saved(tmp_path, nodes, MLP_CONSTANTS, ["n", 3], [("y", 2), ("unsupported", 2), ("hidden", 2)])
    assert agrees(path, (2, 3), output="y").graph.nodes[-1].shape == (2,)
    assert agrees(path, (2, 3), output="hidden").graph.nodes[-1].shape == (5,)
    with pytest.raises(ModelError, match=r"has 3 outputs \(y, unsupported, hidden\).*--output NAME"):
        load_onnx_network(path)
    with pytest.raises(ModelError, match="has no output 'z'; accepted: y, unsupported, hidden"):
        load_onnx_network(path, output="z")


def test_inputs_that_the_output_does_not_need_are_left_out(tmp_path) -> None:
    made = model([*MLP, node("Add", "y", "extra", to="z")], MLP_CONSTANTS, ["n", 3], [("y", 2), ("z", 2)])
    made.graph.input.append(helper.make_tensor_value_info("extra", FLOAT, ["n", 2]))
    path = tmp_path / "net.onnx"
    onnx.save(made, path)
    x = torch.rand(2, 3)
    network = load_onnx_network(path, output="y")
    torch.testing.assert_close(network.run(x), network.graph.outputs(x))
    with pytest.raises(ModelError, match=r"has 2 inputs \(x, extra\)"):
        load_onnx_network(path, output="z")


def test_double_precision_works_where_single_holds_the_constants(tmp_path) -> None:
    doubled = {name: value.astype(np.float64) for name, value in MLP_CONSTANTS.items()}
    agrees(saved(tmp_path, MLP, doubled, ["n", 3], [("y", 2)], kind=DOUBLE), (2, 3))
    doubled["v"][0, 0] = 0.1
    with pytest.raises(
        ModelError, match=r"'v' of type DOUBLE holds 0\.1, which single precision does not; accepted: .*float\("
    ):
        load_onnx_network(saved(tmp_path, MLP, doubled, ["n", 3], [("y", 2)], kind=DOUBLE))


def test_other_precisions_are_named(tmp_path) -> None:
    halved = {name: value.astype(np.float16) for name, value in MLP_CONSTANTS.items()}
    with pytest.raises(ModelError, match="of type FLOAT16; accepted: FLOAT"):
        load_onnx_network(saved(tmp_path, MLP, halved, ["n", 3], [("y", 2)], kind=TensorProto.FLOAT16))


def test_weights_beside_the_model(tmp_path) -> None:
    made = model(MLP, MLP_CONSTANTS, ["n", 3], [("y", 2)])
    path = tmp_path / "net.onnx"
    onnx.save(made, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    agrees(path, (2, 3))
    packed = tmp_path / "packed.onnx.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    x = torch.rand(2, 3)
    torch.testing.assert_close(load_onnx_network(packed).run(x), load_onnx_network(path).run(x))
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"net\.onnx: its weights are in another file, which cannot be read"):
        load_onnx_network(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"hello, this is no model", "not a valid ONNX file"),
        (b"\x08\x08", "not a valid ONNX file"),
        (b"\x1f\x8b\x08garbage", "cannot be read"),
    ],
)
def test_files_that_are_no_models(data: bytes, message: str, tmp_path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=rf"net\.onnx: {message}"):
        load_onnx_network(path)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_truncated_files(share: float, tmp_path) -> None:
    path = saved(tmp_path, MLP, MLP_CONSTANTS, ["n", 3], [("y", 2)])
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ModelError, match=r"net\.onnx: "):
        load_onnx_network(path)


def test_a_folder_is_no_model(tmp_path) -> None:
    with pytest.raises(ModelError, match="is a folder"):
        load_onnx_network(tmp_path)


@pytest.mark.parametrize("constant", [0.0, -0.0])
def test_outputs_that_are_not_finite_are_named(constant: float, tmp_path) -> None:
    path = saved(tmp_path, [node("Div", "x", "c")], {"c": np.array([1, constant, 1], np.float32)}, ["n", 3], [("y", 2)])
    with pytest.raises(ModelError, match="8 of 24 outputs are NaN or infinite on random inputs"):
        load_onnx_network(path)


def test_numbers_that_are_none_are_named(tmp_path) -> None:
    with pytest.raises(ModelError, match="'w' holds NaN"):
        load_onnx_network(saved(tmp_path, MLP, {"w": W * np.nan, "v": V}, ["n", 3], [("y", 2)]))


def test_what_the_shape_leaves_open_comes_from_the_property_or_is_named(tmp_path) -> None:
    path = saved(tmp_path, MLP, MLP_CONSTANTS, ["n", "k"], [("y", 2)])
    assert agrees(path, (2, 3), inputs=3).graph.input_shape == (3,)
    with pytest.raises(ModelError, match=r"input shape \[\?, \?\] leaves dimension 1 open"):
        load_onnx_network(path)
    path = saved(tmp_path, MLP, MLP_CONSTANTS, None, [("y", 2)])
    assert agrees(path, (2, 3), inputs=3).graph.input_shape == (3,)
    with pytest.raises(ModelError, match="declares no shape"):
        load_onnx_network(path)


def test_modules_of_batches_need_samples_that_are_apart(tmp_path) -> None:
    """A property speaks of one sample, a measurement of batches."""
    nodes = [node("ReduceMean", "x", to="m", axes=[0]), node("Sub", "x", "m", to="d"), node("Add", "d", "c")]
    path = saved(tmp_path, nodes, {"c": floats(3)}, ["n", 3], [("y", 2)])
    agrees(path, (1, 3))
    with pytest.raises(ModelError, match="samples of a batch influence each other"):
        load_onnx(path)
    nodes, constants, sizes, rank = SHAPES["ranks"]
    load_onnx(saved(tmp_path, nodes, constants, sizes, [("y", rank)]))


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ([node("Greater", "x", "c", to="g"), node("Where", "g", "x", "c")], {"c": floats(3)}, "Greater"),
        ([node("Mul", "x", "x")], {}, "of two computed values"),
        ([node("Softmax", "x", axis=0)], {}, "over dimension 0"),
        ([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT16)], {}, "to FLOAT16, which rounds"),
        (
            [helper.make_node("RandomUniform", [], ["r"], shape=[3]), node("Add", "x", "r")],
            {},
            "whose result is random",
        ),
    ],
)
def test_what_is_refused(nodes, constants, message: str, tmp_path) -> None:
    with pytest.raises(UnsupportedLayerError, match=rf"net\.onnx: layer .*{message}"):
        load_onnx_network(saved(tmp_path, nodes, constants, ["n", 3], [("y", 2)]))
