"""Content digests: the identity of tensors, models and specifications."""

import hashlib
import json
from collections.abc import Iterable

import torch
from torch import Tensor, nn


def digest_tensors(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, in the order given."""
    state = hashlib.sha256()
    for name, tensor in tensors:
        value = tensor.detach().cpu().contiguous()
        state.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        state.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def digest_module(model: nn.Module) -> str:
    """SHA-256 of the architecture as printed and of every parameter and buffer."""
    named = [*model.named_parameters(), *model.named_buffers()]
    architecture = hashlib.sha256(repr(model).encode()).hexdigest()
    return hashlib.sha256(f"{architecture}{digest_tensors(named)}".encode()).hexdigest()


def digest_json(value: object) -> str:
    """SHA-256 of the canonical JSON form of `value`."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
