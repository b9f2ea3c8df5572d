"""Mixed precision: the classifier in bfloat16, its weights, its logits and the loss in single precision."""

from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["single", "bf16"]

# Losses made of logits alone. Bounds in bfloat16 bound nothing, and second derivatives lose their digits.
SAFE = ("dropout", "ensemble", "fast", "fgsm", "pgd", "standard", "trades")


def why_not(objective: str, penalised: bool) -> str | None:
    """What keeps an objective from bfloat16, None if nothing does."""
    if objective not in SAFE:
        return f"precision = 'bf16': is not safe for objective {objective!r}, whose loss is made of more than logits"
    return "precision = 'bf16': is not safe for penalties, which are made of derivatives" if penalised else None


def lowered(model: nn.Module, precision: Precision) -> nn.Module:
    """The same module, which from now on computes in this precision and gives logits in single precision."""
    if precision == "single":
        return model
    forward = model.forward

    def mixed(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            logits: Tensor = forward(x)
        return logits.float()

    model.forward = mixed
    return model
