"""How often a step of training goes through a network, counted in the operations that run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from calipers.models.hooks import watching

_MATRIX = {torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.bmm.default}


@dataclass(frozen=True)
class Passes:
    """forwards, backwards: through the module, whatever the size of the batch; bounds, which walk its graph, are none.

    weight_gradients: how often a gradient of the weights of a layer was computed, as a mean over layers. work: floating
    point operations of products and convolutions, in those of one forward pass on the batch.
    """

    forwards: int
    backwards: int
    weight_gradients: float
    work: float


class Operations(TorchDispatchMode):
    """Counts floating point operations, and those that make gradients of a layer's weights.

    In products they are told by the shape of what comes out.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | _ConvNd)]
        self.layers = len(layers)
        self.shapes = {tuple(layer.weight.shape) for layer in layers if isinstance(layer, nn.Linear)}
        self.shapes |= {shape[::-1] for shape in self.shapes}
        self.weight_gradients = self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            self.flops += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=out)
        if func is torch.ops.aten.convolution_backward.default:
            self.weight_gradients += bool(args[10][1])
        elif func in _MATRIX:
            self.weight_gradients += tuple(out.shape[-2:]) in self.shapes
        return out


def count(model: nn.Module, x: Tensor, step: Callable[[], object]) -> Passes:
    """The passes of a call of `step` on a batch x, which must be as wide as no layer of the model."""
    forwards = backwards = 0

    def back(gradient: Tensor) -> None:
        nonlocal backwards
        backwards += 1

    def look(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        nonlocal forwards
        forwards += 1
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(back)

    with Operations(model) as one, torch.no_grad():
        model(x)
    with watching({model: look}), Operations(model) as all_:
        step()
    return Passes(forwards, backwards, all_.weight_gradients / all_.layers, all_.flops / one.flops)
