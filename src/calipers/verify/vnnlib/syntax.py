"""VNN-LIB files, version 1.0 or 2.0, to comparisons of a network's inputs and outputs."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from calipers.core.errors import InputError
from calipers.core.packed import decoded, read_packed
from calipers.verify.vnnlib.expressions import Fault, Group, Word, read_groups, shown
from calipers.verify.vnnlib.formulas import Comparison, Variable, conjuncts, normal_form

# Commands of SMT-LIB that say nothing about the property.
_SILENT = {
    *("set-logic", "set-info", "set-option", "check-sat", "check-sat-assuming", "get-model", "get-value", "get-info"),
    *("get-option", "get-assignment", "get-unsat-core", "get-proof", "get-assertions", "echo"),
}
_ACCEPTED = "declare-const, declare-fun, declare-network, assert, and commands that say nothing about the property"
_OLD = re.compile(r"([XY])_(\d+)")
_TENSOR = re.compile(r"(\w+) (\w+) ?\[(\d+(?:,\d+)*)?\]")
_REALS = {"real", "Real", "float16", "float32", "float64", "bfloat16"}


class VnnlibQuery(NamedTuple):
    """What is assumed of a network's inputs and outputs.

    inputs, outputs: their names by flat index. assertions: all hold; each is a disjunction of conjunctions.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    assertions: list[list[list[Comparison]]]


def read(path: Path) -> VnnlibQuery:
    """A file, packed (.gz, .bz2, .xz) or not. Raises InputError if it is missing, damaged or not understood."""
    try:
        text = decoded(read_packed(path))
    except FileNotFoundError as error:
        raise InputError(f"property {path}: there is no such file") from error
    except (OSError, ValueError) as error:
        raise InputError(f"property {path}: cannot be read ({error})") from error
    try:
        return parse(text)
    except InputError as error:
        raise InputError(f"property {path}: {error}") from error


def parse(text: str) -> VnnlibQuery:
    """VNN-LIB 1.0 or 2.0, with or without the other commands of an SMT-LIB script.

    Raises InputError, with line and column, for anything else and for products of variables.
    """
    try:
        return _query(read_groups(text))
    except Fault as fault:
        line = text.count("\n", 0, fault.at) + 1
        column = fault.at - text.rfind("\n", 0, fault.at)
        raise InputError(f"not VNN-LIB 1.0 or 2.0 (line {line}, column {column}: {fault})") from fault
    except RecursionError as error:
        raise InputError("its formulas are nested too deeply; accepted: some hundred levels") from error


def _query(commands: list[Group]) -> VnnlibQuery:
    variables: dict[str, Variable] = {}
    assertions: list[list[list[Comparison]]] = []
    version = ""
    for command in commands:
        match command.head:
            case "declare-const" | "declare-fun":
                variables |= [_declared(command)]
            case "vnnlib-version":
                version = shown(command)
                if len(command.items) != 2 or not version.startswith(("(vnnlib-version <1", "(vnnlib-version <2")):
                    raise Fault(command.at, f"{version!r}; accepted: (vnnlib-version <2.0>)")
            case "declare-network":
                if variables:
                    raise Fault(command.at, "a second network; accepted: one")
                variables |= _network(command)
            case "assert":
                if len(command.items) != 2:
                    raise Fault(command.at, f"assert with {len(command.items) - 1} formulas; accepted: one")
                assertions += [normal_form(part, variables) for part in conjuncts(command.items[1])]
            case "exit":
                break
            case name if name not in _SILENT:
                raise Fault(command.at, f"{shown(command)!r} is not understood; accepted: {_ACCEPTED}")
    return VnnlibQuery(_names(variables, output=False), _names(variables, output=True), assertions)


def _declared(command: Group) -> tuple[str, Variable]:
    """A variable of version 1.0: (declare-const X_0 Real), or (declare-fun X_0 () Real)."""
    name, *kind = command.items[1:] or [Word("", command.at)]
    if command.head == "declare-fun" and kind and isinstance(kind[0], Group) and not kind[0].items:
        kind = kind[1:]
    if len(kind) != 1 or not isinstance(kind[0], Word) or kind[0].text not in _REALS or isinstance(name, Group):
        raise Fault(command.at, f"{shown(command)!r}; accepted: (declare-const X_0 Real)")
    found = _OLD.fullmatch(name.text)
    if found is None:
        raise Fault(
            name.at, f"unknown symbol {name.text!r}; accepted: X_0, X_1, ... for inputs, Y_0, Y_1, ... for outputs"
        )
    return name.text, Variable(found[1] == "Y", int(found[2]))


def _network(command: Group) -> Iterator[tuple[str, Variable]]:
    """The variables of a network of version 2.0."""
    parts = [part for part in command.items[2:] if isinstance(part, Group)]
    heads = [part.head for part in parts]
    if sorted(heads) != ["declare-input", "declare-output"] or len(parts) != len(command.items) - 2:
        said = ", ".join(heads) or "nothing"
        raise Fault(command.at, f"a network with {said}; accepted: one declare-input and one declare-output")
    for part in parts:
        tensor = _TENSOR.fullmatch(" ".join(shown(item) for item in part.items[1:]))
        if tensor is None or tensor[2] not in _REALS:
            raise Fault(part.at, f"{shown(part)!r}; accepted: ({part.head} X real [1,5])")
        name, dims = tensor[1], [int(size) for size in tensor[3].split(",")] if tensor[3] else []
        for place, indices in enumerate(itertools.product(*map(range, dims))):
            index = ",".join(map(str, indices))
            yield f"{name}[{index}]" if dims else name, Variable(part.head == "declare-output", place)


def _names(variables: dict[str, Variable], *, output: bool) -> tuple[str, ...]:
    """Names by flat index. Raises InputError if there is none, or a gap."""
    names = {variable.place: name for name, variable in variables.items() if variable.output == output}
    letter, what = ("Y", "output") if output else ("X", "input")
    if not names:
        raise InputError(f"declares no {what}; accepted: (declare-const {letter}_0 Real), or a VNN-LIB 2.0 network")
    missing = next((place for place in range(len(names)) if place not in names), None)
    if missing is not None:
        raise InputError(f"declares {letter}_{max(names)}, but not {letter}_{missing}; accepted: {what}s without a gap")
    return tuple(names[place] for place in range(len(names)))
