"""Where tensors are: the device that a run computes on, and what is moved to it."""

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from calipers.core.errors import InputError

T = TypeVar("T")

CPU = torch.device("cpu")


def device_of(name: str | torch.device) -> torch.device:
    """The device of a name: cpu, cuda, cuda:N or mps; auto is the first CUDA device, or the CPU where there is none.

    Raises InputError for a name that torch does not know, and for a device that this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"device {name!r}: is none; accepted: cpu, cuda, cuda:N, mps or auto") from error
    if device.type == "meta":
        raise InputError("device 'meta': holds no values; accepted: cpu, cuda, cuda:N, mps or auto")
    if device.type == "cuda":
        _require_cuda(name, device)
        return torch.device("cuda", device.index or 0)
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, NotImplementedError, AssertionError) as error:
        raise InputError(f"device {name!r}: this machine has none; accepted here: {_accepted()}") from error
    return torch.device(device.type) if device.index in (None, 0) else device


def require_double(device: torch.device, needed_by: str) -> None:
    """Raise InputError for a device without double precision, in the name of what needs it."""
    if device.type == "mps":
        raise InputError(f"device mps: has no double precision, which {needed_by} needs; accepted: cpu or cuda")


def home_of(model: nn.Module) -> torch.device:
    """Where a model's parameters and buffers are, by the first of them; the CPU if it has none."""
    return next((one.device for one in (*model.parameters(), *model.buffers())), CPU)


def described(device: torch.device) -> str:
    """A device by its kind, and its model where torch knows it: what a record says of where it was made."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def told(device: str) -> dict[str, str]:
    """What a task's JSON says of its device: nothing of the CPU, so that digests of older runs stay what they were."""
    return {} if device == CPU.type else {"device": device}


def moved(record: T, device: torch.device | str) -> T:
    """A tensor, a tuple of tensors, or a frozen record with every tensor in it, on a device."""
    if isinstance(record, Tensor):
        return record.to(device)  # type: ignore[return-value]
    if isinstance(record, tuple):
        return tuple(moved(one, device) for one in record)  # type: ignore[return-value]
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        parts = {one.name: moved(getattr(record, one.name), device) for one in dataclasses.fields(record) if one.init}
        return dataclasses.replace(record, **parts)
    return record


@contextmanager
def standard_kernels(device: torch.device) -> Iterator[None]:
    """Float32 arithmetic as IEEE 754 has it, whatever the caller set.

    No TF32, bfloat16 or autocast, and no cuDNN, which may choose Winograd or FFT: allowances for rounding hold for sums
    of rounded products alone.
    """
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.backends.cudnn.flags(enabled=False, allow_tf32=False))
            for kind in {"cpu", device.type}:
                if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
                    stack.enter_context(torch.autocast(kind, enabled=False))
            yield
    finally:
        torch.set_float32_matmul_precision(precision)


def _require_cuda(name: str | torch.device, device: torch.device) -> None:
    if not torch.cuda.is_available():
        why = "torch is built without CUDA" if torch.version.cuda is None else "torch finds no CUDA device"
        raise InputError(f"device {str(name)!r}: {why} (torch {torch.__version__}); accepted here: {_accepted()}")
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise InputError(f"device {str(name)!r}: this machine has {count}; accepted: cuda:0 to cuda:{count - 1}")


def _accepted() -> str:
    mps = torch.backends.mps.is_available()
    return ", ".join(["cpu", *(["cuda"] if torch.cuda.is_available() else []), *(["mps"] if mps else []), "auto"])
