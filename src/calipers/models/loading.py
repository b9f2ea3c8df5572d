"""From a reference, as given on the command line, to a model that is ready to be measured."""

import contextlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from calipers.core.digests import digest_module
from calipers.core.errors import CalipersError, ModelError
from calipers.models.card import read_card
from calipers.models.functions import FunctionModel
from calipers.models.normalise import input_std
from calipers.models.pt2 import load_pt2, with_modes
from calipers.models.weights import SUFFIXES, check_finite, put_weights, read_weights
from calipers.models.whitening import Whitened, Whitening
from calipers.models.zoo import ZOO
from calipers.models.zoo.pretrained import pretrained_card

OnnxLoader = Callable[[Path], nn.Module]
FILES = (".pt2", ".onnx", ".json")
ACCEPTED = (
    "accepted: a name of the zoo (`calipers models`), package.module:callable, or a file *.pt2 (torch.export), *.onnx "
    "or *.json (card of a saved model)"
)

# Wrappers that compute what the module inside them computes.
_WRAPPERS = {
    nn.DataParallel: "module",
    nn.parallel.DistributedDataParallel: "module",
    torch.optim.swa_utils.AveragedModel: "module",
}


@dataclass(frozen=True)
class LoadedModel:
    """A model in eval mode whose parameters take no gradients.

    digest: `digest_module` of it. input_shape: of one input, where the reference tells it. std: by which its first
    layer divides the input, None where it does not normalise. weights: the file they come from; None where the
    reference itself brings them. random_weights: they are as initialised, since the zoo holds architectures only.
    """

    module: nn.Module
    name: str
    digest: str
    input_shape: tuple[int, ...] | None
    std: tuple[float, ...] | None
    weights: Path | None
    random_weights: bool = False


def load_model(
    reference: str, weights: Path | None = None, onnx_loader: OnnxLoader | None = None, init_seed: int = 0
) -> LoadedModel:
    """Load a model.

    reference: a name of the zoo; `package.module:callable`, where the callable takes no arguments and returns a module
    or a function, or is a module or a function from inputs to logits itself (also from the working directory; it runs
    your code); `*.pt2` of torch.export; `*.onnx`; or the `*.json` card of
    a saved model. weights: a state dict (`*.safetensors`, `*.pt`, `*.pth`) for the first two forms.
    Networks of the zoo that come with weights have those by default.
    onnx_loader: reads ONNX files. init_seed: draws the weights of a zoo network that gets none.

    Raises ModelError (InputError for an unknown name).
    """
    suffix = Path(reference).suffix
    if suffix in FILES and ":" not in Path(reference).name:
        if weights is not None:
            raise ModelError(f"model {reference}: a {suffix} file brings its own weights; leave out {weights}")
        return _from_file(Path(reference), onnx_loader)
    _refuse_file(reference)
    card = pretrained_card(reference) if weights is None and reference in ZOO else None
    if card is not None:
        return replace(_from_card(card), name=reference, weights=None)
    module, shape = build(reference, init_seed)
    if weights is not None:
        put_weights(module, read_weights(weights), str(weights))
    loaded = _finished(module, reference, shape, weights)
    return replace(loaded, random_weights=reference in ZOO and weights is None)


def build(architecture: str, init_seed: int = 0) -> tuple[nn.Module, tuple[int, ...] | None]:
    """A module by zoo name or `package.module:callable`, and its input shape where known."""
    if ":" in architecture:
        return call_reference(architecture), None
    entry = ZOO[architecture]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(init_seed)
        return entry.build(), entry.input_shape


def call_reference(reference: str) -> nn.Module:
    """The module that `package.module:callable` is or returns; ModelError if it is not there or is no model."""
    try:
        with _working_directory_on_path():
            target = pkgutil.resolve_name(reference)
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelError(
            f"model {reference}: {error}; accepted: package.module:callable, importable from here"
        ) from error
    if not callable(target):
        raise ModelError(f"model {reference}: is a {type(target).__name__}; accepted: a callable without arguments")
    if isinstance(target, nn.Module) or _takes_an_input(target):
        return as_module(target)
    try:
        module = target()
    except CalipersError:
        raise
    except Exception as error:  # whatever the user's code raises, it is about this reference
        raise ModelError(f"model {reference}: calling it failed with {type(error).__name__}: {error}") from error
    if not callable(module):
        raise ModelError(
            f"model {reference}: returned a {type(module).__name__}; accepted: a torch.nn.Module, or a function from "
            "inputs to logits"
        )
    return as_module(module)


def as_module(model: object) -> nn.Module:
    """A module without what is only wrapped around it (DataParallel, torch.compile), or a function or an exported
    program as a module.

    Raises ModelError for anything else.
    """
    if isinstance(model, torch.export.ExportedProgram):
        return with_modes(model.module()).eval()
    if isinstance(model, torch.fx.GraphModule):
        return with_modes(model)
    if inspect.isclass(model):
        raise ModelError(f"model: is the class {model.__name__}; accepted: an instance, {model.__name__}(...)")
    if not callable(model):
        raise ModelError(
            f"model: is a {type(model).__name__}; accepted: a torch.nn.Module, a function from inputs to logits, or "
            "what load_model returns"
        )
    if not isinstance(model, nn.Module):
        return FunctionModel(model)
    inner = getattr(model, "_orig_mod", None)  # of torch.compile
    for wrapper, name in _WRAPPERS.items():
        if isinstance(model, wrapper):
            inner = getattr(model, name)
    return model if inner is None else as_module(inner)


def loaded(model: object) -> LoadedModel:
    """A live model as it is, under its own name."""
    module = as_module(model)
    _require_data(module)
    name = getattr(module.function, "__name__", "") if isinstance(module, FunctionModel) else ""
    return LoadedModel(module, name or type(module).__name__, digest_module(module), None, input_std(module), None)


def _require_data(module: nn.Module) -> None:
    held = (*module.named_parameters(), *module.named_buffers())
    lazy = [name for name, tensor in held if nn.parameter.is_lazy(tensor)]
    if lazy:
        raise ModelError(f"model: {lazy[0]} has no shape yet (a lazy layer); call the model once on a batch of inputs")
    empty = [name for name, tensor in held if tensor.is_meta]
    if empty:
        raise ModelError(
            f"model: {empty[0]} and {len(empty) - 1} more have no values (device 'meta'); accepted: weights"
        )


def _takes_an_input(target: Callable[..., Any]) -> bool:
    """Whether a function has to be given exactly one value: then it is the model, and does not make one."""
    if inspect.isclass(target):
        return False
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in parameters if p.default is p.empty and p.kind in positional]
    return len(needed) == 1


def _refuse_file(reference: str) -> None:
    """Raise ModelError for a file that is no model by itself."""
    if ":" in Path(reference).name or reference in ZOO:
        return
    suffix = Path(reference).suffix
    if suffix in SUFFIXES:
        raise ModelError(
            f"model {reference}: a {suffix} file holds weights and no architecture; give it as --weights, beside the "
            f"model that it belongs to; {ACCEPTED}"
        )
    if Path(reference).exists():
        raise ModelError(f"model {reference}: no model file by its ending {suffix!r}; {ACCEPTED}")


def _from_file(path: Path, onnx_loader: OnnxLoader | None) -> LoadedModel:
    if not path.is_file():
        raise ModelError(f"model {path}: no such file")
    if path.suffix == ".pt2":
        return _finished(load_pt2(path), str(path), None, None)
    if path.suffix == ".json":
        return _from_card(path)
    if onnx_loader is None:
        raise ModelError(f"model {path}: no reader for ONNX files was given (argument onnx_loader)")
    return _finished(onnx_loader(path), str(path), None, None)


def _from_card(path: Path) -> LoadedModel:
    card = read_card(path)
    module, shape = build(card.architecture)
    if card.whitened is not None:
        module, shape = Whitened(Whitening(card.whitened), module), card.whitened
    weights = path.parent / card.weights
    put_weights(module, read_weights(weights), str(weights))
    loaded = _finished(module, str(path), shape, weights)
    if loaded.digest != card.model_digest:
        made = ", ".join(f"{name} {version}" for name, version in sorted(card.versions.items()))
        raise ModelError(
            f"model {path}: the card says digest {card.model_digest[:12]}, {weights.name} with {card.architecture} has "
            f"{loaded.digest[:12]}; the weights or the architecture changed since the card was written (with {made})"
        )
    return loaded


def _finished(module: nn.Module, name: str, shape: tuple[int, ...] | None, weights: Path | None) -> LoadedModel:
    _require_data(module)
    module = module.eval().requires_grad_(False)
    check_finite(module.state_dict(), name)
    return LoadedModel(module, name, digest_module(module), shape, input_std(module), weights)


@contextlib.contextmanager
def _working_directory_on_path() -> Iterator[None]:
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
