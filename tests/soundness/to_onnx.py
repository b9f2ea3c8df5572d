"""Modules as ONNX files, one node a layer, with the weights bit by bit."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from tests.soundness.layers import Abs, Clip, Extreme, Gain, Joined, Residual, pair


def write_onnx(module: nn.Module, shape: tuple[int, ...], path: Path) -> Path:
    """Write a module with a free batch dimension."""
    writer = _Writer()
    output = writer.layer(module, "x")
    with torch.no_grad():
        size = module(torch.zeros(2, *shape)).shape[1:]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])]
    made = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", *size])]
    graph = helper.make_graph(writer.nodes, "net", given, made, writer.constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


class _Writer:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: Tensor | np.ndarray) -> str:
        array = values.detach().numpy() if isinstance(values, Tensor) else values
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, kind: str, *inputs: str, **settings: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **settings))
        return name

    def layer(self, layer: nn.Module, x: str) -> str:
        """Append a layer; the name of its output."""
        match layer:
            case nn.Sequential():
                for one in layer:
                    x = self.layer(one, x)
                return x
            case nn.Linear():
                return self.node("Gemm", x, self.constant(layer.weight), self._bias(layer), transB=1)
            case nn.Conv2d():
                settings = self._windows(layer, layer.weight.shape[2:])
                return self.node("Conv", x, self.constant(layer.weight), self._bias(layer), **settings)
            case nn.MaxPool2d():
                return self.node("MaxPool", x, **self._windows(layer, pair(layer.kernel_size)))
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                assert layer.running_mean is not None
                assert layer.running_var is not None
                held = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
                return self.node("BatchNormalization", x, *(self.constant(t) for t in held), epsilon=layer.eps)
            case Gain():
                return self.node("Add", self.node("Mul", x, self.constant(layer.weight)), self.constant(layer.bias))
            case nn.ReLU():
                return self.node("Relu", x)
            case nn.LeakyReLU():
                return self.node("LeakyRelu", x, alpha=layer.negative_slope)
            case Abs():
                return self.node("Abs", x)
            case Clip():
                ends = (self.constant(np.array(v, dtype=np.float32)) for v in (layer.low, layer.high))
                return self.node("Clip", x, *ends)
            case nn.Sigmoid():
                return self.node("Sigmoid", x)
            case nn.Tanh():
                return self.node("Tanh", x)
            case nn.Flatten():
                return self.node("Flatten", x)
            case nn.Unflatten():
                shape = np.array([0, *layer.unflattened_size], dtype=np.int64)
                return self.node("Reshape", x, self.constant(shape))
            case Residual():
                return self.node("Add", x, self.layer(layer.body, x))
            case Joined():
                return self.node("Concat", self.layer(layer.one, x), self.layer(layer.two, x), axis=1)
            case Extreme():
                return self.node("Max" if layer.largest else "Min", self.layer(layer.one, x), self.layer(layer.two, x))
            case _:
                raise NotImplementedError(type(layer).__name__)

    def _bias(self, layer: nn.Linear | nn.Conv2d) -> str:
        return self.constant(layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias)

    @staticmethod
    def _windows(layer: nn.Conv2d | nn.MaxPool2d, size: tuple[int, ...]) -> dict[str, list[int]]:
        stride, padding, dilation = (list(pair(v)) for v in (layer.stride, layer.padding, layer.dilation))
        return {"strides": stride, "pads": padding + padding, "dilations": dilation, "kernel_shape": list(size)}
