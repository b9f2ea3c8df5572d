"""Transfer from a substitute (Papernot et al., Practical Black-Box Attacks against Machine Learning, 2017)."""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from calipers.attacks.attack import ATTACK_LIBRARIES, Attack
from calipers.attacks.losses import Loss
from calipers.attacks.pgd import PGD
from calipers.attacks.query import Query
from calipers.core.digests import digest_module
from calipers.core.errors import InputError, ModelError
from calipers.core.norms import Norm
from calipers.graph.from_onnx import load_onnx
from calipers.models.checks import check_model
from calipers.models.loading import load_model


@dataclass(frozen=True)
class Transfer:
    """Another attack, whose gradients are those of a substitute; the points it asks about are put to the target.

    What the attack learns of the target is the margins at these points. So it goes on until the target is broken, and
    attacks that choose by margins (APGD, estimated-pgd) choose by the target's. Passes of the substitute are not
    counted: an instance costs the target forward passes alone.

    substitute: in eval mode; takes the target's inputs and has its classes, or InputError is raised when run.
    source: where it comes from, for the name.
    """

    substitute: nn.Module
    attack: Attack = field(default_factory=PGD)
    source: str = ""

    @property
    def name(self) -> str:
        return f"transfer:{self.source}" if self.source else "transfer"

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "substitute": digest_module(self.substitute),
            "attack": self.attack.name,
            "settings": self.attack.parameters,
        }

    @property
    def norms(self) -> frozenset[Norm]:
        return self.attack.norms

    def run(self, query: Query, seed: int) -> None:
        problem = query.problem
        try:
            check_model(self.substitute, problem.input_set.center[:1], problem.specification.C.shape[2])
        except ModelError as error:
            raise InputError(
                f"attack {self.name!r}: the substitute does not fit the target, {error}; choose a substitute that "
                "takes the target's inputs and has its classes"
            ) from error
        self.attack.run(_Substituted(query, self.substitute), seed)


class _Substituted(Query):
    """The target's query with the substitute's gradients.

    Outputs that an attack differentiates itself (`logits`, `jacobian`, ...) are the substitute's.
    """

    def __init__(self, target: Query, substitute: nn.Module) -> None:
        super().__init__(substitute, target.problem)
        self._target = target
        # The same tensors, so that whatever the target answers is seen here too.
        self.best, self.best_margin = target.best, target.best_margin

    def margins(self, x: Tensor, active: Int[Tensor, " active"]) -> Float[Tensor, "active rows"]:
        return self._target.margins(x, active)

    def gradient(
        self, x: Tensor, active: Int[Tensor, " active"], loss: Loss
    ) -> tuple[Float[Tensor, "active rows"], Float[Tensor, "active *shape"]]:
        x = x.detach().requires_grad_(True)
        with torch.enable_grad():
            _, rows = self._forward(x, active)
            if not rows.requires_grad:
                raise InputError("the substitute gives no gradients; accepted: a module that autograd goes through")
            (gradient,) = torch.autograd.grad(loss(rows).sum(), x)
        return self._target.margins(x.detach(), active), gradient.nan_to_num(0, 0, 0)

    def _keep(self, x: Tensor, active: Tensor, logits: Tensor, rows: Tensor) -> None:
        self._target.margins(x, active)


@ATTACK_LIBRARIES.add("transfer")
def from_substitute(reference: str) -> Transfer:
    """PGD on the substitute in a model card, or in another file or callable that brings its weights."""
    loaded = load_model(reference, onnx_loader=load_onnx)
    if loaded.random_weights:
        raise InputError(f"attack 'transfer:{reference}': the zoo has no weights; accepted: the .json card of a model")
    return Transfer(loaded.module, source=reference)
