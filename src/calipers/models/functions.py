"""Plain functions as models."""

import functools
import hashlib
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, MethodType
from typing import Any

from torch import Tensor, nn


class FunctionModel(nn.Module):
    """A function from inputs to logits as a module. The modules and tensors that it uses by name belong to it.

    They are what it closes over, its global names, the object that it is a method of, and arguments of a partial.
    """

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function
        for number, used in enumerate(_used(function)):
            if isinstance(used, nn.Module):
                self.add_module(f"module{number}", used)
            elif isinstance(used, Tensor):
                self.register_buffer(f"tensor{number}", used.detach(), persistent=False)

    def forward(self, x: Tensor) -> Any:
        return self.function(x)

    def extra_repr(self) -> str:
        """Name and code: the digest of a module covers what it prints."""
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        plain = [repr(value) for value in _used(self.function) if isinstance(value, bool | int | float | str | tuple)]
        return f"{name}, {_code_digest(self.function)}, {', '.join(plain)}"


def _used(function: Any) -> Iterator[Any]:
    """What a function reaches by name."""
    if isinstance(function, functools.partial):
        yield from function.args
        yield from function.keywords.values()
        yield from _used(function.func)
    elif isinstance(function, MethodType):
        yield function.__self__
        yield from _used(function.__func__)
    elif (code := getattr(function, "__code__", None)) is not None:
        yield from (cell.cell_contents for cell in function.__closure__ or ())
        yield from (function.__globals__[name] for name in _names(code) if name in function.__globals__)
    else:
        yield from getattr(function, "__dict__", {}).values()
        yield from _used(type(function).__call__) if isinstance(type(function).__call__, FunctionType) else ()


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _code_digest(function: Any) -> str:
    return hashlib.sha256(repr(list(_instructions(function))).encode()).hexdigest()[:16]


def _instructions(function: Any) -> Iterator[Any]:
    if isinstance(function, functools.partial):
        yield from _instructions(function.func)
    elif isinstance(function, MethodType):
        yield from _instructions(function.__func__)
    elif isinstance(code := getattr(function, "__code__", function), CodeType):
        yield code.co_code.hex()
        yield code.co_names
        for constant in code.co_consts:
            yield from _instructions(constant) if isinstance(constant, CodeType) else (repr(constant),)
    else:
        yield type(function).__qualname__
        yield from _instructions(type(function).__call__) if isinstance(type(function).__call__, FunctionType) else ()
