"""Checkpoints: enough to go on at any batch and end with the same weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from calipers.core.errors import InputError, StoreError
from calipers.core.files import whole
from calipers.train.averaging import Average
from calipers.train.objective import State
from calipers.train.validation import Best

Sums = dict[str, tuple[float, int]]


@dataclass(frozen=True)
class Position:
    """The next batch to train on."""

    epoch: int
    batch: int


@dataclass(frozen=True)
class EpochRecord:
    """What is known of one epoch. metrics: means over its batches. learning_rate: of the classifier, at its end.

    ended: the training ends with it, before its last epoch or after that.
    """

    epoch: int
    metrics: dict[str, float]
    learning_rate: float
    seconds: float
    ended: bool = False


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """position: to go on at. state: of the objective. history: of the finished epochs.

    sums: of the epoch under way, of every metric the sum over samples, and how many these are. average: of the weights.
    best: of the epochs that were validated.
    """

    position: Position
    state: State
    history: tuple[EpochRecord, ...] = ()
    sums: Sums = field(default_factory=dict)
    seconds: float = 0.0
    average: Average | None = None
    best: Best | None = None

    @property
    def ended(self) -> bool:
        """Whether the training is over."""
        return bool(self.history) and self.history[-1].ended

    def save(self, path: Path, recipe_digest: str) -> None:
        """Write it, whole or not at all; wherever it was made, it can be read anywhere."""
        content = {
            "recipe": recipe_digest,
            "position": asdict(self.position),
            "state": _on_cpu(self.state.parts()),
            "history": [asdict(record) for record in self.history],
            "sums": self.sums,
            "seconds": self.seconds,
            "average": self.average and _on_cpu(vars(self.average)),
            "best": self.best and _on_cpu(vars(self.best)),
        }
        try:
            with whole(path) as file:
                torch.save(content, file)
        except (OSError, RuntimeError) as error:
            raise StoreError(
                f"checkpoint {path}: cannot be written ({error}); free some space, then --resume"
            ) from error

    @classmethod
    def load(cls, path: Path, recipe_digest: str, state: State) -> "Checkpoint":
        """Put a checkpoint into networks and optimisers. InputError if it belongs to another recipe.

        StoreError if it is damaged.
        """
        try:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # damage makes the reader fail in any way
            raise StoreError(f"checkpoint {path} is damaged ({error}); remove it to start over") from error
        if content["recipe"] != recipe_digest:
            raise InputError(
                f"checkpoint {path}: made by recipe {content['recipe'][:12]}, asked for {recipe_digest[:12]}; "
                "go on with the recipe that made it, or give another --out"
            )
        history = tuple(EpochRecord(**record) for record in content["history"])
        restored = state.restored(content["state"])
        average, best = content["average"], content["best"]
        return cls(
            Position(**content["position"]),
            restored,
            history,
            content["sums"],
            content["seconds"],
            average and Average(**average),
            best and Best(**best),
        )


def _on_cpu(part: Any) -> Any:
    """Parts of a state with all their tensors on the CPU."""
    match part:
        case Tensor():
            return part.detach().cpu()
        case Mapping():
            return {key: _on_cpu(value) for key, value in part.items()}
        case list() | tuple():
            return type(part)(_on_cpu(value) for value in part)
    return part


def added(sums: Sums, metrics: dict[str, float], samples: int) -> Sums:
    """Sums with what a batch told; a metric need not be told by every batch."""
    more = {name: _plus(sums.get(name, (0.0, 0)), samples * value, samples) for name, value in metrics.items()}
    return {**sums, **more}


def _plus(sum_: tuple[float, int], value: float, samples: int) -> tuple[float, int]:
    return sum_[0] + value, sum_[1] + samples
