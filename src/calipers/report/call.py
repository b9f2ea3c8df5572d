"""A Python call, written down as an expression that repeats it."""

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from numbers import Integral, Real
from pathlib import Path
from types import FunctionType, MappingProxyType
from typing import Any

import calipers
from calipers.core.threat import ThreatModel

_NONE: Mapping[str, Any] = MappingProxyType({})


class Name(str):
    """A variable of the caller in a written call: `model`, where the model itself cannot be written."""


def call_of(function: Callable[..., Any], arguments: Mapping[str, Any], options: Mapping[str, Any] = _NONE) -> str:
    """A call as one valid Python expression, without keyword arguments that are as by default.

    options: defaults of the keywords that the function takes beyond its own parameters. Things of calipers stand with
    their module; what has no expression (networks, tensors) becomes a variable's name.
    """
    known = inspect.signature(function).parameters
    written = []
    for name, value in arguments.items():
        text, parameter = expression(value), known.get(name)
        default = options[name] if parameter is None else parameter.default
        if parameter is not None and parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            written.append(text)
        elif default is inspect.Parameter.empty or text != expression(default):
            written.append(f"{name}={text}")
    return f"{_qualified(function)}({', '.join(written)})"


def expression(value: Any) -> str:
    """A value as a Python expression."""
    match value:
        case None | bool():
            return repr(value)
        case Name():
            return str(value)
        case str() | Path():
            return repr(str(value))
        case Integral():
            return repr(int(value))
        case Real():
            return repr(float(value)) if math.isfinite(value) else f"float('{float(value)}')"
        case list() | tuple():
            items = ", ".join(map(expression, value))
            return f"[{items}]" if isinstance(value, list) else f"({items}{',' if len(value) == 1 else ''})"
        case dict():
            return f"{{{', '.join(f'{expression(key)}: {expression(item)}' for key, item in value.items())}}}"
        case FunctionType() | type():
            return _qualified(value)
        case ThreatModel():
            return f"calipers.{value!r}"
        case _ if is_dataclass(value):
            given = [f"{field.name}={text}" for field in fields(value) if (text := _given(value, field)) is not None]
            return f"{_qualified(type(value))}({', '.join(given)})"
        case _:
            return _variable(type(value).__name__.lower())


def _given(value: Any, field: Field[Any]) -> str | None:
    """What a dataclass was given for a field; None where that is its default."""
    text = expression(getattr(value, field.name))
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    return text if field.init and (default is MISSING or text != expression(default)) else None


def _qualified(thing: Any) -> str:
    name = str(thing.__qualname__)
    if name in calipers.__all__ and getattr(calipers, name) is thing:
        return f"calipers.{name}"
    if "<" in name:
        return _variable(name.rsplit(".", 1)[-1])
    return f"{thing.__module__}.{name}" if str(thing.__module__).startswith("calipers.") else name


def _variable(text: str) -> str:
    name = re.sub(r"\W", "", text)
    return name if name.isidentifier() else f"value{name}"
