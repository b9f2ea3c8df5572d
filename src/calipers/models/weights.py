"""Weight files: read without running code, checked against the model, and put into it."""

import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from calipers.core.errors import ModelError

SUFFIXES = (".safetensors", ".pt", ".pth")
SHOWN = 3

# What DataParallel and torch.compile put in front of names.
PREFIXES = ("module.", "_orig_mod.")

# Where a checkpoint of a training script keeps the state dict.
INSIDE = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in `path`, on the CPU. Raises ModelError for a file that is missing, damaged or needs code."""
    if not path.is_file():
        raise ModelError(f"weights {path}: no such file; accepted: a file ending in {', '.join(SUFFIXES)}")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in SUFFIXES:
        return _read_pickle(path)
    raise ModelError(f"weights {path}: the ending {path.suffix!r} is unknown; accepted: {', '.join(SUFFIXES)}")


def put_weights(model: nn.Module, state: dict[str, Tensor], origin: str) -> None:
    """Copy `state` into `model`, every tensor into its namesake of the same shape.

    Names may all begin with the same words in front ("module." of DataParallel, "_orig_mod." of torch.compile).
    Raises ModelError, which names the first clashes and both shapes or types, where the names differ, a shape differs,
    or the model's type would lose digits; and where a value is NaN or infinite.
    """
    expected = model.state_dict()
    state = _without_prefix(state, expected.keys())
    clashes = [f"{name} {_form(expected[name])} is missing" for name in expected.keys() - state.keys()]
    clashes += [f"{name} {_form(state[name])} has no place in the model" for name in state.keys() - expected.keys()]
    clashes += [
        f"{name} is {_form(state[name])}, the model's is {_form(expected[name])}"
        for name in expected.keys() & state.keys()
        if not _fits(state[name], expected[name])
    ]
    if clashes:
        rest = f"; and {len(clashes) - SHOWN} more" if len(clashes) > SHOWN else ""
        prefix = next((p for p in PREFIXES if state and all(name.startswith(p) for name in state)), None)
        hint = "" if prefix is None else f"; all its names begin with {prefix!r}, but they do not fit without it either"
        raise ModelError(f"weights {origin} do not fit the model: {'; '.join(sorted(clashes)[:SHOWN])}{rest}{hint}")
    check_finite(state, origin)
    model.load_state_dict(state)


def check_finite(state: dict[str, Tensor], origin: str) -> None:
    """Raise ModelError, naming the tensor and the count, if a value is NaN or infinite."""
    for name, tensor in state.items():
        broken = int((~torch.isfinite(tensor)).sum())
        if broken:
            raise ModelError(
                f"weights {origin}: {name} has {broken} of {tensor.numel()} values that are NaN or infinite; "
                "all must be finite"
            )


def _without_prefix(state: dict[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """The state under the model's own names if its names are those behind one prefix, or the other way round."""
    for long, short in ((state.keys(), names), (names, state.keys())):
        last = min(short, key=len, default="")
        for prefix in {name.removesuffix(last) for name in long if last and name.endswith(f".{last}")}:
            if set(long) == {prefix + name for name in short}:
                if long is names:
                    return {prefix + name: tensor for name, tensor in state.items()}
                return {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _fits(given: Tensor, expected: Tensor) -> bool:
    return given.shape == expected.shape and torch.promote_types(given.dtype, expected.dtype) == expected.dtype


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{tuple(tensor.shape)}"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise ModelError(f"weights {path}: the file is damaged or no safetensors file ({error})") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"weights {path}: the file is damaged, or its pickle needs code to run ({_first_line(error)}); only plain "
            "state dicts are read. Where you trust it, convert it: safetensors.torch.save_file(model.state_dict(), ...)"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ModelError(f"weights {path}: the file is damaged ({_first_line(error)})") from error
    if not isinstance(state, dict):
        raise ModelError(f"weights {path}: holds a {type(state).__name__}; accepted: a state dict (name -> tensor)")
    state = _inside(path, state)
    strangers = [str(key) for key, value in state.items() if not isinstance(value, Tensor)]
    if strangers:
        raise ModelError(
            f"weights {path}: {', '.join(strangers[:SHOWN])} of its {len(state)} entries are no tensors; accepted: a "
            f"state dict (name -> tensor), or a checkpoint that holds one as {', '.join(INSIDE)}. Else save the state "
            "dict as a file of its own"
        )
    return dict(state)


def _inside(path: Path, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The state dict in a checkpoint, found by its name; the checkpoint where there is none. ModelError for several."""
    found = [name for name in INSIDE if isinstance(checkpoint.get(name), dict)]
    if len(found) > 1:
        raise ModelError(
            f"weights {path}: holds several dicts that may be the weights ({', '.join(found)}); save the state dict "
            "as a file of its own"
        )
    return checkpoint[found[0]] if found else checkpoint


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
