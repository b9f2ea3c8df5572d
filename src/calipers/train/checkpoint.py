"""Checkpoints: enough to go on at any batch and end with the same weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from calipers.core.errors import InputError, StoreError
from calipers.core.files import whole


@dataclass(frozen=True)
class Position:
    """The next batch to train on."""

    epoch: int
    batch: int


def save_checkpoint(path: Path, recipe_digest: str, position: Position, model: nn.Module, optimizer: Optimizer) -> None:
    """Write a checkpoint, whole or not at all."""
    state = {
        "recipe": recipe_digest,
        "epoch": position.epoch,
        "batch": position.batch,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    try:
        with whole(path) as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:
        raise StoreError(f"checkpoint {path}: cannot be written ({error}); free some space, then --resume") from error


def load_checkpoint(path: Path, recipe_digest: str, model: nn.Module, optimizer: Optimizer) -> Position:
    """Put a checkpoint into model and optimizer. InputError if it belongs to another recipe, StoreError if damaged."""
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except Exception as error:  # damage makes the reader fail in any way
        raise StoreError(f"checkpoint {path} is damaged ({error}); remove it to start over") from error
    if state["recipe"] != recipe_digest:
        raise InputError(
            f"checkpoint {path}: made by recipe {state['recipe'][:12]}, asked for {recipe_digest[:12]}; "
            "go on with the recipe that made it, or give another --out"
        )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return Position(state["epoch"], state["batch"])
