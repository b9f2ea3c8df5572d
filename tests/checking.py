"""Types and shapes of the program, checked while its tests run: each combination once.

jaxtyping's import hook wraps every function in a check by beartype. What the check says depends on the types, dtypes
and shapes of what goes in and comes out: a combination that passed once would pass again, so it is remembered. That
saves a third of the suite's time. Where a hint looks at more than a key holds, every call is checked.
"""

import contextlib
import functools
import inspect
import threading
import types
import typing
import warnings
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence, Set
from typing import Any

import jaxtyping
from beartype import beartype

# A function of a value: all that the value's hint looks at, in a form that can be remembered.
Key = Callable[[Any], Any]
# A longer collection is not remembered.
_LONGEST = 20
# In place of hints with names that are imported for mypy only.
_UNRESOLVED = object()


# The check of every call.
always: Callable[[Any], Any] = jaxtyping.jaxtyped(typechecker=beartype)


class UnknownError(Exception):
    """A check may depend on more than a key holds."""


def install(package: str) -> None:
    """Check every function and dataclass of a package, which must not be imported yet."""
    jaxtyping.jaxtyped = lambda *, typechecker: checked_once  # type: ignore[assignment]  # what the hook looks up
    jaxtyping.install_import_hook(package, "beartype.beartype")


def checked_once(thing: Any) -> Any:
    """`always`, with a memory. thing: a function, or a class with the `__init__` that dataclass gave it."""
    if not inspect.isclass(thing):
        return _wrapped(thing)
    if "__dataclass_fields__" in vars(thing) and not hasattr(thing.__init__, "_checked"):
        thing.__init__ = _wrapped(thing.__init__)  # type: ignore[method-assign]  # as jaxtyping does
    return thing


# By the identity of code: a function within a function is made anew in every call of the outer one.
_CHECKS: dict[int, "_Check"] = {}


def _wrapped(function: Any) -> Callable[..., Any]:
    code = id(function.__code__)
    check = _CHECKS.get(code)
    if check is None:
        check = _CHECKS[code] = _Check(function)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        return check.call(function, args, kwargs)

    wrapper._checked = True  # type: ignore[attr-defined]
    return wrapper


class _Check:
    """What has passed for one piece of code. Its parts are made when first called: all names are known then."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.passed: dict[Hashable, set[Hashable]] = {}
        self.waiting = threading.local()

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        __tracebackhide__ = True
        try:
            results = self.passed.setdefault(self.keys.given(args, kwargs), set())
        except (UnknownError, TypeError):  # TypeError: sizes that are symbols while torch traces can't be looked up
            return self.in_full(functools.partial(function, *args, **kwargs), args, kwargs)
        if not results:
            out = self.in_full(functools.partial(function, *args, **kwargs), args, kwargs)
        else:
            out = function(*args, **kwargs)
            with contextlib.suppress(UnknownError, TypeError):
                if self.keys.result(out) in results:
                    return out
            self.in_full(lambda: out, args, kwargs)
        with contextlib.suppress(UnknownError, TypeError):
            results.add(self.keys.result(out))
        return out

    def in_full(self, work: Callable[[], Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What `work` returns, between the check of the arguments and the check of the result."""
        __tracebackhide__ = True
        stack = self.waiting.__dict__.setdefault("stack", [])
        depth = len(stack)
        stack.append(work)
        try:
            return self.full(*args, **kwargs)
        finally:
            del stack[depth:]

    @functools.cached_property
    def full(self) -> Callable[..., Any]:
        """jaxtyping's own check, around what is waiting. It reads the hints among the names of their module."""
        waiting = self.waiting

        def stand_in(*args: Any, **kwargs: Any) -> Any:
            return waiting.stack.pop()()

        names = self.function.__globals__
        there = types.FunctionType(stand_in.__code__, names, self.function.__name__, None, stand_in.__closure__)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of beartype's, about the way in which hints are spelled
            return always(functools.update_wrapper(there, self.function))

    @functools.cached_property
    def keys(self) -> "_Keys":
        return _Keys(self.function)


class _Keys:
    """The keys of a function's arguments and of its result."""

    def __init__(self, function: Callable[..., Any]) -> None:
        signature = inspect.signature(function)
        parameters = signature.parameters.values()
        try:
            hints = typing.get_type_hints(function, include_extras=True)
        except NameError:
            hints = dict.fromkeys([*signature.parameters, "return"], _UNRESOLVED)
        keys = {p.name: key_of(hints.get(p.name, Any)) for p in parameters}
        self.result = key_of(hints.get("return", Any))
        self._in_order = tuple(keys[p.name] for p in parameters if p.kind <= p.POSITIONAL_OR_KEYWORD)
        self._by_name = keys
        self._rest = next((keys[p.name] for p in parameters if p.kind == p.VAR_POSITIONAL), _nothing)
        self._more = next((keys[p.name] for p in parameters if p.kind == p.VAR_KEYWORD), _nothing)

    def given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
        count = len(self._in_order)
        keys = [key(value) for key, value in zip(self._in_order, args, strict=False)]
        keys += [self._rest(value) for value in args[count:]]
        keys += [(name, self._by_name.get(name, self._more)(value)) for name, value in kwargs.items()]
        return tuple(keys)


def key_of(hint: Any) -> Key:
    """The key of values under a hint."""
    origin, parts = typing.get_origin(hint), [part for part in typing.get_args(hint) if part is not ...]
    if hint is Any:
        return _nothing
    if hint is None or (isinstance(hint, type) and origin is None):
        return _key_of_class(hint)
    if origin in (typing.Union, types.UnionType):
        return _joined([key_of(part) for part in parts])
    if origin is typing.Literal:
        return lambda value: (type(value), value)
    if origin in (Callable, Generator, Iterator):
        return type  # what they would give is not looked at
    if origin is tuple and ... not in typing.get_args(hint):
        return _all_items(_joined([key_of(part) for part in parts]))
    if origin in (tuple, list, Sequence, set, frozenset, Set) and parts:
        return _alike(_all_items(key_of(parts[0])))
    if origin in (dict, Mapping) and parts:
        return _pairs(*(_alike(_all_items(key_of(part))) for part in parts))
    return _unknown


def _key_of_class(hint: Any) -> Key:
    if hint is None or not issubclass(hint, jaxtyping.AbstractArray):
        return type
    # Braces: a size that is the value of an argument.
    return _unknown if "{" in hint.dim_str else _array


def _nothing(value: Any) -> Any:
    return None


def _unknown(value: Any) -> Any:
    raise UnknownError


def _array(value: Any) -> Any:
    try:
        return type(value), value.dtype, value.shape
    except AttributeError:
        return type(value)


def _joined(keys: list[Key]) -> Key:
    distinct = tuple(dict.fromkeys(keys))
    if len(distinct) == 1:
        return distinct[0]
    if set(distinct) == {type, _array}:
        return _array
    return lambda value: tuple([key(value) for key in distinct])


def _all_items(key: Key) -> Key:
    def items(value: Any) -> Any:
        if not isinstance(value, tuple | list | set | frozenset):
            return type(value)
        if len(value) > _LONGEST:
            raise UnknownError
        return type(value), *[key(item) for item in value]

    return items


def _alike(items: Key) -> Key:
    """beartype looks at one item, drawn at random: what it says is certain where all are alike."""

    def alike(value: Any) -> Any:
        found = items(value)
        if isinstance(found, tuple) and len(set(found[1:])) > 1:
            raise UnknownError
        return found

    return alike


def _pairs(keys: Key, values: Key) -> Key:
    def pairs(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return type(value)
        return type(value), keys(tuple(value)), values(tuple(value.values()))

    return pairs
