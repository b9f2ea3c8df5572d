"""torch modules to graphs, through torch.export."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO

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
from calipers.graph.check import check_graph
from calipers.graph.graph import Graph, GraphModule
from calipers.graph.torch_walk import TorchWalk


def from_module(model: nn.Module, example: Tensor) -> Graph:
    """The graph of a module in eval mode. example: a batch of inputs, for shapes only.

    It has at least two inputs, or as many as the module takes if it takes only one number of them.

    The graph is compared with the module on random inputs. Raises UnsupportedLayerError for a layer without
    counterpart and ModelError if the module cannot be traced or the graph differs from it.
    """
    program = exported(model, example)
    try:
        with torch.no_grad(), _quiet():
            graph = TorchWalk(program, tuple(example.shape[1:]), len(example)).graph()
    except ModelError:
        raise
    except Exception as error:  # an operator used as no converter expects it: attacks need not stop for that
        raise ModelError(f"model: its graph cannot be made ({type(error).__name__}: {error})") from error
    check_graph(graph, partial(_called, model))
    return graph


def exported(model: nn.Module, example: Tensor) -> ExportedProgram:
    """A module in eval mode as a program. Raises ModelError if it cannot be traced. example: as for `from_module`."""
    try:
        # Under no_grad a model's own no_grad changes nothing, and leaves nothing in the program.
        with torch.no_grad(), _quiet():
            free = None if len(example) == 1 else ({0: Dim.AUTO},)
            program = export(model, (example,), dynamic_shapes=free, strict=False)
            program = program.run_decompositions({}) if _shares_memory(program) else program
    except Exception as error:  # torch.export raises many types; all mean the same to the user
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"model: torch.export cannot trace it ({first}); a verifier needs a model without control flow on its "
            "input, with a free batch dimension"
        ) from error
    return program


def _called(model: nn.Module, x: Tensor) -> Tensor:
    try:
        return model(x)
    except Exception as error:  # a foreign model may raise anything on a batch that it does not take
        raise ModelError(f"model: takes no batch of {len(x)} inputs ({type(error).__name__}: {error})") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch tells its own authors on the way; what matters to a user is in its exceptions."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _shares_memory(program: ExportedProgram) -> bool:
    """Whether an operator works in place on memory that another value may look at.

    The walk reads operators as functions of their operands; such a program has to be made one of functions first.
    """
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is not None and schema.is_mutable:
            operand = node.args[0]
            source = getattr(operand.target, "_schema", None)
            fresh = source is not None and not any(map(_looks_at_operand, source.returns))
            alone = fresh or operand.name in program.graph_signature.user_inputs
            # Dropout in eval mode returns its own operand, whatever its schema says.
            if len(operand.users) > 1 or not alone or "dropout" in str(operand.target):
                return True
    return False


def _looks_at_operand(value: torch._C.Argument) -> bool:
    """Whether a result of an operator is a view. What an operator in place returns is its operand, judged before."""
    return value.alias_info is not None and not value.alias_info.is_write


def graph_of(model: nn.Module, example: Tensor) -> Graph:
    """The graph of a module, which an ONNX model brings along. Errors and `example` as for `from_module`."""
    return model.graph if isinstance(model, GraphModule) else from_module(model, example)
