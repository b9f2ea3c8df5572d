"""What single layers of a torch model compute, seen while it runs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from calipers.core.errors import InputError

# Told what a layer was given and what it returned.
Look = Callable[[nn.Module, tuple[Tensor, ...], object], None]


def named_layer(model: nn.Module, layer: str) -> nn.Module:
    """The module of a model with this name. Raises InputError that lists the names, if there is none."""
    modules = {name: module for name, module in model.named_modules() if name}
    if layer not in modules:
        raise InputError(f"layer {layer!r} is not in the model; accepted: {', '.join(modules) or 'it has none'}")
    return modules[layer]


@contextmanager
def watching(looks: Mapping[nn.Module, Look]) -> Iterator[None]:
    """Whenever one of the layers is called inside, its `Look` is told."""
    handles = [layer.register_forward_hook(look) for layer, look in looks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def activations(model: nn.Module, layer: str) -> Iterator[list[object]]:
    """What the layer of this name returns in every call inside, in order, with its graph.

    Tensors are copies, so that a layer after it that works in place does not change them. Raises InputError if there is
    no such layer.
    """
    seen: list[object] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        seen.append(output.clone() if isinstance(output, Tensor) else output)

    with watching({named_layer(model, layer): look}):
        yield seen


@contextmanager
def replacing(model: nn.Module, layer: str, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """The layer of this name returns `change` of what it computes, in every call inside."""
    handle = named_layer(model, layer).register_forward_hook(lambda module, inputs, output: change(output))
    try:
        yield
    finally:
        handle.remove()
