"""ONNX models to graphs. Every attribute is read or refused, none is ignored."""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from calipers.core.errors import ModelError
from calipers.graph import onnx_layers, onnx_tensors  # noqa: F401  # they fill the table of converters
from calipers.graph.check import check_graph
from calipers.graph.graph import Graph, GraphModule
from calipers.graph.onnx_walk import Walk


@dataclass(frozen=True, eq=False)
class OnnxNetwork:
    """A network as a graph, and as onnxruntime runs it."""

    graph: Graph
    session: onnxruntime.InferenceSession

    def run(self, x: Tensor) -> Tensor:
        """What onnxruntime makes of a batch of inputs in single precision."""
        return _run(self.session, x)


def load_onnx_network(path: Path) -> OnnxNetwork:
    """An ONNX file, packed (.gz) or not; its graph compared with onnxruntime on random inputs.

    Raises ModelError if the file cannot be read or the graph differs, UnsupportedLayerError for an operator or
    attribute without counterpart.
    """
    if not path.is_file():
        raise ModelError(f"model {path}: there is no such file")
    try:
        model = onnx.load_from_string(gzip.decompress(path.read_bytes())) if path.suffix == ".gz" else onnx.load(path)
        onnx.checker.check_model(model)
    except (OSError, EOFError, zlib.error) as error:
        raise ModelError(f"model {path}: cannot be read ({error})") from error
    except Exception as error:  # onnx raises protobuf and checker errors alike
        raise ModelError(f"model {path}: not a valid ONNX file ({str(error).splitlines()[0]})") from error
    graph = Walk(model).graph()
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no other base
        raise ModelError(f"model {path}: onnxruntime refuses it ({str(error).splitlines()[0]})") from error
    check_graph(graph, lambda x: _run(session, x))
    return OnnxNetwork(graph, session)


def from_onnx(path: Path) -> Graph:
    """The graph of an ONNX file; errors as `load_onnx_network`."""
    return load_onnx_network(path).graph


def load_onnx(path: Path) -> GraphModule:
    """An ONNX file as a differentiable module."""
    return GraphModule(from_onnx(path))


def _run(session: onnxruntime.InferenceSession, x: Tensor) -> Tensor:
    given = session.get_inputs()[0]
    if len(given.shape) < x.dim():  # no batch dimension
        return torch.from_numpy(np.stack([session.run(None, {given.name: sample.numpy()})[0] for sample in x]))
    fixed = isinstance(given.shape[0], int)
    batches = x.split(given.shape[0]) if fixed else [x]
    outputs = [session.run(None, {given.name: batch.numpy()})[0] for batch in batches]
    return torch.from_numpy(np.concatenate(outputs))
