"""torch modules to graphs, through torch.export."""

import warnings

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from calipers.core.errors import ModelError
from calipers.graph import (  # noqa: F401  # they fill the table of converters
    torch_layers,
    torch_merge,
    torch_pools,
    torch_tensors,
)
from calipers.graph.graph import Graph, GraphModule, check_graph
from calipers.graph.torch_walk import Walk


def from_module(model: nn.Module, example: Tensor) -> Graph:
    """The graph of a module in eval mode. example: a batch of at least two inputs, for shapes only.

    The graph is compared with the module on random inputs. Raises UnsupportedLayerError for a layer without
    counterpart and ModelError if the module cannot be traced or the graph differs from it.
    """
    try:
        # Under no_grad a model's own no_grad changes nothing, and leaves nothing in the program. Torch's own warnings
        # speak to the authors of torch.
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = export(model, (example,), dynamic_shapes=({0: Dim.AUTO},), strict=False)
            program = program.run_decompositions({}) if _shares_memory(program) else program
    except Exception as error:  # torch.export raises many types; all mean the same to the user
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"model: torch.export cannot trace it ({first}); a verifier needs a model without control flow on its "
            "input, with a free batch dimension"
        ) from error
    with torch.no_grad():
        graph = Walk(program, tuple(example.shape[1:])).graph()
    check_graph(graph, model)
    return graph


def _shares_memory(program: ExportedProgram) -> bool:
    """Whether an operator works in place on memory that another value may look at.

    The walk reads operators as functions of their operands; such a program has to be made one of functions first.
    """
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is not None and schema.is_mutable:
            operand = node.args[0]
            source = getattr(operand.target, "_schema", None)
            fresh = source is not None and not any(value.alias_info is not None for value in source.returns)
            alone = fresh or operand.name in program.graph_signature.user_inputs
            # Dropout in eval mode returns its own operand, whatever its schema says.
            if len(operand.users) > 1 or not alone or "dropout" in str(operand.target):
                return True
    return False


def graph_of(model: nn.Module, example: Tensor) -> Graph:
    """The graph of a module, which an ONNX model brings along. Errors and `example` as for `from_module`."""
    return model.graph if isinstance(model, GraphModule) else from_module(model, example)
