"""Recipes as TOML files, with changes from the command line, and errors that name each fault."""

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from calipers.core.errors import InputError
from calipers.core.registry import unknown
from calipers.train.objectives import OBJECTIVES
from calipers.train.recipe import Recipe


def built_in_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("calipers.train") / "recipes"
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def load_recipe(reference: str, changes: Sequence[str] = ()) -> Recipe:
    """A recipe by file, or by name of a built-in one.

    changes: "key=value" or "table.key=value" each, the value as TOML has it; text needs no quotes, and none stands for
    nothing. Raises InputError that names every field that is wrong, its value, and what is accepted.
    """
    raw = _read(reference)
    for change in changes:
        _change(raw, change)
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        faults = "; ".join(dict.fromkeys(_faults(error, (), raw)))
        raise InputError(f"recipe {reference}: {faults}") from error


def _read(reference: str) -> dict[str, Any]:
    if reference in built_in_recipes():
        content = (resources.files("calipers.train") / "recipes" / f"{reference}.toml").read_bytes()
    else:
        path = Path(reference)
        if not path.exists():
            names = ", ".join(built_in_recipes())
            raise InputError(f"recipe {reference!r}: neither a file nor a built-in recipe; built in: {names}")
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(
                f"recipe {reference}: cannot be read ({error.strerror}); accepted: a TOML file, or a built-in recipe"
            ) from error
    try:
        return tomllib.loads(content.decode("utf-8-sig"))  # some editors begin a file with a mark
    except UnicodeDecodeError as error:
        raise InputError(
            f"recipe {reference}: byte {error.start} is not UTF-8 ({error.reason}); accepted: a TOML file in UTF-8"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"recipe {reference}: not valid TOML ({error})") from error


def _change(raw: dict[str, Any], change: str) -> None:
    """One assignment, made in the recipe as it was read."""
    key, equals, text = change.partition("=")
    *tables, last = key.strip().split(".")
    if not equals or not all([*tables, last]):
        raise InputError(f"--set {change!r}: is no assignment; accepted: KEY=VALUE or TABLE.KEY=VALUE, as in epochs=5")
    table = raw
    for number, name in enumerate(tables):
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            place = ".".join(tables[: number + 1])
            hint = f"; accepted: settings.{last}={text}, what belongs to an objective" if place == "objective" else ""
            raise InputError(f"--set {change}: {place} is {table!r} and no table{hint}")
    table[last] = _value(text.strip())


def _value(text: str) -> Any:
    """As TOML has it; else the text itself."""
    if text == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _faults(error: ValidationError, place: tuple[str, ...], raw: Mapping[str, Any]) -> list[str]:
    """A line for each, also for those of the settings, which are checked on their own."""
    lines = []
    for one in error.errors():
        inner = one.get("ctx", {}).get("error")
        where = (*place, *map(str, one["loc"]))
        if isinstance(inner, ValidationError):
            lines += _faults(inner, where, raw)
        else:
            lines.append(_fault(".".join(where), where, one["type"], one["msg"], one["input"], raw))
    return lines


def _fault(name: str, where: tuple[str, ...], kind: str, said: str, value: Any, raw: Mapping[str, Any]) -> str:
    if kind == "extra_forbidden":
        return f"{name} = {value!r}: {_stranger(where, raw)}"
    if kind == "missing":
        return f"{name}: is missing"
    if kind == "value_error":  # of our own, which says all that there is to say
        return said.removeprefix("Value error, ")
    return f"{name} = {value!r}: {said[:1].lower()}{said[1:]}".replace("input should be", "accepted:", 1)


def _stranger(where: tuple[str, ...], raw: Mapping[str, Any]) -> str:
    """What a key that is not known may have been meant to be."""
    *tables, key = where
    return str(unknown("key", key, list(_fields(Recipe, tables, raw))))


def _fields(table: type[BaseModel], tables: Sequence[str], raw: Mapping[str, Any]) -> Sequence[str]:
    for name in tables:
        if name == "settings":
            return list(OBJECTIVES[raw.get("objective", "standard")].settings.model_fields)
        annotation = table.model_fields[name].annotation
        table = next(one for one in (annotation, *get_args(annotation)) if isinstance(one, type))
    return list(table.model_fields)
