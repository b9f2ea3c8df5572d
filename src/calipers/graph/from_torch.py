"""torch modules to graphs, through torch.export."""

from torch import Tensor, nn
from torch.export import Dim, export

from calipers.core.errors import ModelError
from calipers.graph import torch_layers, torch_tensors  # noqa: F401  # they fill the table of converters
from calipers.graph.check import check_graph
from calipers.graph.graph import Graph, GraphModule
from calipers.graph.torch_walk import Walk


def from_module(model: nn.Module, example: Tensor) -> Graph:
    """The graph of a module in eval mode. example: a batch of at least two inputs, for shapes only.

    The graph is compared with the module on random inputs. Raises UnsupportedLayerError for a layer without
    counterpart and ModelError if the module cannot be traced or the graph differs from it.
    """
    try:
        program = export(model, (example,), dynamic_shapes=({0: Dim.AUTO},), strict=False)
    except Exception as error:  # torch.export raises many types; all mean the same to the user
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"model: torch.export cannot trace it ({first}); a verifier needs a model without control flow on its "
            "input, with a free batch dimension"
        ) from error
    graph = Walk(program, tuple(example.shape[1:])).graph()
    check_graph(graph, model)
    return graph


def graph_of(model: nn.Module, example: Tensor) -> Graph:
    """The graph of a module, which an ONNX model brings along. Errors and `example` as for `from_module`."""
    return model.graph if isinstance(model, GraphModule) else from_module(model, example)
