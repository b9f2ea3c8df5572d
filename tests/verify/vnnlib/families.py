"""Small networks as ONNX files."""

import itertools
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_mlp(path: Path, seed: int, sizes: tuple[int, ...] = (2, 6, 6, 3)) -> Path:
    """A ReLU network with random weights; the batch is fixed to 1, as in VNN-COMP."""
    random = np.random.default_rng(seed)
    nodes, weights, last = [], [], "x"
    for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        weight = random.normal(size=(inputs, outputs)).astype(np.float32)
        bias = random.normal(size=outputs).astype(np.float32) / 3
        weights += [numpy_helper.from_array(weight, f"w{i}"), numpy_helper.from_array(bias, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [last, f"w{i}", f"b{i}"], [f"z{i}"]))
        last = f"z{i}"
        if i < len(sizes) - 2:
            nodes.append(helper.make_node("Relu", [last], [f"a{i}"]))
            last = f"a{i}"
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, sizes[0]])]
    ends += [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, sizes[-1]])]
    graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def property_text(box: list[tuple[float, float]], outputs: int, unsafe: str) -> str:
    """VNN-LIB 1.0."""
    lines = [f"(declare-const X_{i} Real)" for i in range(len(box))]
    lines += [f"(declare-const Y_{i} Real)" for i in range(outputs)]
    for i, (low, high) in enumerate(box):
        lines += [f"(assert (>= X_{i} {low}))", f"(assert (<= X_{i} {high}))"]
    return "\n".join([*lines, unsafe])
