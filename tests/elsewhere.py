"""An accelerator that every machine has: a device whose tensors refuse partners on the CPU, computed on the CPU.

`with elsewhere() as device:` makes the device "elsewhere" work. As on a real accelerator, an operation on tensors of
both places raises (scalars and indices may come from the CPU), factories follow their `device`, and `.numpy()` asks
for `.cpu()` first. Numbers are those of the CPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_any, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "elsewhere"
_INDEXED = ("index", "index_put", "index_put_", "_unsafe_index", "_index_put_impl_", "_unsafe_index_put")
_MOVES = ("_to_copy", "copy_", "_copy_from", "_copy_from_and_resize")


class _Far(Tensor):
    """A tensor elsewhere. near: its values on the CPU."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor, requires_grad: bool = False) -> "_Far":
        return torch.Tensor._make_wrapper_subclass(
            cls,
            near.shape,
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            device=torch.device(NAME, 0),
            requires_grad=requires_grad,
        )

    def __init__(self, near: Tensor, requires_grad: bool = False) -> None:
        self.near = near

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.detach().near.tolist()  # type: ignore[attr-defined]

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise TypeError(f"can't convert {NAME} device type tensor to numpy; use Tensor.cpu() first")
        return self.detach().near.numpy()  # type: ignore[attr-defined]

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"far {self.near!r}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied: Tensor = _Far(self.near.detach().clone(), self.requires_grad)
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        memo[id(self)] = copied
        return copied


class _Mode(TorchDispatchMode):
    """Catches the factories, whose arguments hold no tensor."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _is_far(x: object) -> bool:
    return isinstance(x, _Far)


def _near(x: Any) -> Any:
    return x.near if isinstance(x, _Far) else x


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    name = func._schema.name.partition("::")[2]
    wanted = kwargs.get("device")
    given = tree_any(_is_far, (args, kwargs))
    if wanted is not None:
        far = torch.device(wanted).type == NAME
        kwargs = {**kwargs, "device": torch.device("cpu")}
    else:
        far = given
    if given and name not in _MOVES:
        _refuse(name, args, kwargs)
    if name == "set_" or (name == "copy_" and not _is_far(args[0])):
        far = False
    result = func(*tree_map(_near, args), **tree_map(_near, kwargs))
    if not far:
        return result
    if func._schema.is_mutable and not name.startswith("_foreach"):
        places = {id(_near(x)): x for x in _flat((args, kwargs)) if isinstance(x, Tensor)}
        return tree_map(lambda y: places.get(id(y), _wrap(y)) if isinstance(y, Tensor) else y, result)
    return tree_map(_wrap, result)


def _wrap(x: Any) -> Any:
    return _Far(x) if isinstance(x, Tensor) and not isinstance(x, _Far) else x


def _flat(x: Any) -> Iterator[Any]:
    if isinstance(x, list | tuple):
        for one in x:
            yield from _flat(one)
    elif isinstance(x, dict):
        yield from _flat(list(x.values()))
    else:
        yield x


def _refuse(name: str, args: Any, kwargs: Any) -> None:
    partners = (args[0], *args[2:]) if name in _INDEXED else args
    for x in _flat((list(partners), kwargs)):
        if isinstance(x, Tensor) and not isinstance(x, _Far) and x.dim() > 0:
            raise RuntimeError(
                f"{name}: expected all tensors to be on the same device, but found {NAME}:0 and cpu {tuple(x.shape)}"
            )


def _empty_strided(size: Any, stride: Any, dtype: Any = None, **_: Any) -> Tensor:
    return _Far(torch.empty_strided(size, stride, dtype=dtype or torch.float32))


def _empty(size: Any, dtype: Any = None, **_: Any) -> Tensor:
    return _Far(torch.empty(size, dtype=dtype or torch.float32))


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    _near(target).copy_(_near(source))
    return target


class _Whole(TorchFunctionMode):
    """Computes whole what works in place on shapes, which a wrapper cannot follow."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.quantile and _is_far(args[0]):
            return _wrap(func(*tree_map(_near, args), **tree_map(_near, kwargs or {})))
        return func(*args, **(kwargs or {}))


@cache
def registered() -> list[torch.library.Library]:
    """Makes the device known, once. Autograd counts the devices when it first runs backward: call it before that."""
    _setup_privateuseone_for_python_backend(NAME)
    # It has no random numbers of its own; `fork_rng` asks every kind of device for theirs.
    backend = getattr(torch, NAME)
    backend.is_available = lambda: False  # what looks for an accelerator by itself shall find none
    backend.get_rng_state = lambda device=None: torch.empty(0, dtype=torch.uint8)
    backend.set_rng_state = lambda state, device=None: None
    library = torch.library.Library("aten", "IMPL")
    library.impl("empty_strided", _empty_strided, "PrivateUse1")
    library.impl("_copy_from", _copy_from, "PrivateUse1")
    library.impl("empty.memory_format", _empty, "PrivateUse1")
    return [library]


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """The device, which works inside the context."""
    registered()
    with _Mode(), _Whole():
        yield torch.device(NAME, 0)
