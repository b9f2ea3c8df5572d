"""Every way in which a network may be evaluated at a point: a proven row must be positive in all of them."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tests.soundness.arithmetic import Exact, Single, evaluate, is_smooth, rows

# Rounded functions are known to so many bits behind the point; what is nearer to 0 is not judged.
_KNOWN = 200


@dataclass(frozen=True, eq=False)
class Deployed:
    """A network of single precision. module: in eval mode. runtime: the same network in onnxruntime."""

    module: nn.Module
    shape: tuple[int, ...]
    runtime: Callable[[Tensor], Tensor] | None = None

    @cached_property
    def _doubled(self) -> nn.Module:
        return deepcopy(self.module).double()

    def double(self, x: Tensor) -> Tensor:
        """Outputs in double precision, from inputs of either."""
        return self._doubled(x.double())


def breaks(
    network: Deployed, x: Float[Tensor, "points ..."], C: Float[Tensor, "points outputs"], d: Float[Tensor, " points"]
) -> dict[str, Bool[Tensor, " points"]]:
    """By evaluation, the points at which the row C f + d is not positive. x, C and d are of single precision."""
    found = {"exact": _exact(network, x, C, d)}
    with torch.no_grad():
        found["double"] = _row(network.double(x), C, d) <= 0
        outputs = {"batch": network.module(x)}
        outputs["one by one"] = torch.cat([network.module(one) for one in x.split(1)])
        if network.runtime is not None:
            outputs["onnxruntime"] = network.runtime(x)
            outputs["onnxruntime one by one"] = torch.cat([network.runtime(one) for one in x.split(1)])
        for seed in range(16):
            outputs[f"order {seed}"] = evaluate(network.module, x, Single.drawn(seed))
    for name, made in outputs.items():
        found[name] = _row(made, C, d) <= 0
        # As `Counterexample.replay` takes it, and as another order may.
        found[f"{name}, row in single"] = (torch.einsum("pc,pc->p", C, made) + d <= 0) | (
            rows(made, C, d, Single(0)) <= 0
        )
    return found


def _exact(network: Deployed, x: Tensor, C: Tensor, d: Tensor) -> Tensor:
    margin = rows(evaluate(network.module, x, Exact()), C, d, Exact())
    return torch.from_numpy(margin.not_positive(_KNOWN if is_smooth(network.module) else None))


def _row(outputs: Tensor, C: Tensor, d: Tensor) -> Tensor:
    return (C.double() * outputs.double()).sum(1) + d.double()
