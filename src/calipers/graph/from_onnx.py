"""ONNX models to graphs. Every attribute is read or refused, none is ignored."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from torch import Tensor

from calipers.core.errors import CalipersError, ModelError
from calipers.graph import onnx_layers, onnx_pools, onnx_products, onnx_tensors  # noqa: F401  # the converters
from calipers.graph.check import check_graph
from calipers.graph.graph import Graph, GraphModule
from calipers.graph.onnx_file import open_session, read_model, sizes_of
from calipers.graph.onnx_reading import Reading, readings, runner
from calipers.graph.onnx_walk import OnnxWalk


@dataclass(frozen=True, eq=False)
class OnnxNetwork:
    """A network as a graph, and as onnxruntime runs it."""

    graph: Graph
    session: onnxruntime.InferenceSession
    reading: Reading

    def run(self, x: Tensor) -> Tensor:
        """What onnxruntime makes of a batch of inputs, in single precision. Raises ModelError where it fails."""
        return runner(self.session, self.reading, self.graph.nodes[-1].shape)(x)


def load_onnx_network(path: Path, *, output: str | None = None, inputs: int | None = None) -> OnnxNetwork:
    """An ONNX file, packed (.gz, .bz2, .xz) or not; its graph compared with onnxruntime on random inputs.

    output: which one, of several. inputs: how many a sample has, where the file leaves that open.

    Raises ModelError if the file cannot be read or the graph differs, UnsupportedLayerError for an operator or
    attribute without counterpart.
    """
    model = read_model(path, output)
    try:
        return _network(model, inputs)
    except CalipersError as error:
        text = str(error).removeprefix("model: ")
        raise type(error)(f"model {path}: {text}") from error
    except Exception as error:  # what nobody thought of, in one file of many
        raise ModelError(f"model {path}: cannot be turned into a graph ({type(error).__name__}: {error})") from error


def from_onnx(path: Path) -> Graph:
    """The graph of an ONNX file; errors as `load_onnx_network`."""
    return load_onnx_network(path).graph


def load_onnx(path: Path, output: str | None = None) -> GraphModule:
    """An ONNX file as a differentiable module of batches. output: which one, of several.

    Raises ModelError also if the file takes batches whose samples influence each other.
    """
    network = load_onnx_network(path, output=output)
    _require_apart(path, network)
    return GraphModule(network.graph)


def _require_apart(path: Path, network: OnnxNetwork) -> None:
    """Raise ModelError if a network that was read for one sample alone takes several, and mixes them.

    Where it fails on several, or does not return an output for each, it was written for one.
    """
    (given,) = network.session.get_inputs()
    if network.reading.open or all(isinstance(size, int) for size in given.shape[:1]):
        return
    kind = np.float64 if given.type == "tensor(double)" else np.float32
    try:
        (found,) = network.session.run(None, {given.name: np.zeros((3, *network.graph.input_shape), kind)})
    except Exception:  # onnxruntime's errors share no other base
        return
    if found.shape[:1] == (3,):
        raise ModelError(
            f"model {path}: its batch is open, and samples of a batch influence each other; accepted: batch 1"
        )


def _network(model: onnx.ModelProto, inputs: int | None) -> OnnxNetwork:
    """By the first reading that the operators fit and onnxruntime agrees with; else the error that came last."""
    session: onnxruntime.InferenceSession | None = None
    failures: list[tuple[int, ModelError]] = []
    for reading in readings(sizes_of(model.graph.input[0]), inputs):
        walk = OnnxWalk(model, reading)
        try:
            graph = walk.graph()
            session = session or _session(model)
            check_graph(graph, runner(session, reading, graph.nodes[-1].shape))
        except ModelError as error:
            failures.append((walk.done, error))
        else:
            return OnnxNetwork(graph, session, reading)
    raise max(failures, key=lambda failure: failure[0])[1]


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """For inputs of the sizes that the walk takes: what the file leaves open with a 0 is open here too."""
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    for value in (*freed.graph.input, *freed.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value <= 0:
                dim.Clear()
    return open_session(freed)
