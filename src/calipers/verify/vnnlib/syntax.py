"""VNN-LIB text to comparisons: the `vnnlib` package reads version 2.0, version 1.0 is put into its words first."""

import bz2
import gzip
import json
import lzma
import math
import re
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import vnnlib

from calipers.core.errors import InputError

_OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_DECLARATION = re.compile(r"\(\s*declare-(?:const\s+([XY])_(\d+)|fun\s+([XY])_(\d+)\s*\(\s*\))\s+Real\s*\)")
_VARIABLE = re.compile(r"\b([XY])_(\d+)\b")
_NUMBER = re.compile(r"(\[[^\]]*\])|(?<![\w.])\d+(?:\.\d*)?(?:[eE][-+]?\d+)?(?![\w.])")
_COMMENT = re.compile(r";[^\n]*")
_REAL = re.compile(r"\bReal\b")
_VERSION = re.compile(r"\(\s*vnnlib-version\b")


class Comparison(NamedTuple):
    """sum of weights * inputs + sum of weights * outputs <= bound, or < bound if strict; entries by flat index."""

    inputs: dict[int, float]
    outputs: dict[int, float]
    bound: float
    strict: bool


class Query(NamedTuple):
    """How many inputs and outputs the network has, and what is assumed of them.

    assertions: all hold; each is a disjunction of conjunctions.
    """

    inputs: int
    outputs: int
    assertions: list[list[list[Comparison]]]


def read(path: Path) -> Query:
    """A file, packed (.gz, .bz2, .xz) or not. Raises InputError if it is missing, damaged or not understood."""
    try:
        with _OPENERS.get(path.suffix, open)(path, "rt", encoding="utf-8") as file:  # type: ignore[operator]
            text = file.read()
    except FileNotFoundError as error:
        raise InputError(f"property {path}: there is no such file") from error
    except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError) as error:
        raise InputError(f"property {path}: cannot be read ({error})") from error
    try:
        return parse(text)
    except InputError as error:
        raise InputError(f"property {path}: {error}") from error


def parse(text: str) -> Query:
    """VNN-LIB 1.0 or 2.0. Raises InputError for anything else, and for products of variables."""
    text = _COMMENT.sub("", text)
    if not _VERSION.search(text):
        text = _modern(text)
    text = _REAL.sub("real", text)  # spelled as in version 1.0 it is no type to the package
    text = _NUMBER.sub(lambda found: found[1] or _plain(found[0]), text)
    try:
        query = vnnlib.parse_query_string(text)
        network = _network(query)
        assertions = [
            [[row for c in conjunction for row in _rows(c)] for conjunction in _disjuncts(assertion.expr)]
            for assertion in query.assertions
        ]
    except vnnlib.VNNLibException as error:
        raise InputError(f"not VNN-LIB 1.0 or 2.0 ({_reason(str(error))})") from error
    inputs, outputs = (math.prod(part[0].shape) for part in (network.inputs, network.outputs))
    return Query(inputs, outputs, assertions)


def _modern(text: str) -> str:
    """Version 1.0 in the words of 2.0: X_3 is X[3] of a flat input."""
    count = {"X": 0, "Y": 0}
    for const, place, fun, at in _DECLARATION.findall(text):
        name, index = (const, place) if const else (fun, at)
        count[name] = max(count[name], int(index) + 1)
    for name, what in (("X", "input"), ("Y", "output")):
        if not count[name]:
            raise InputError(f"declares no {what}; accepted: (declare-const {name}_0 Real), or a VNN-LIB 2.0 network")
    head = (
        f"(vnnlib-version <2.0>) (declare-network f (declare-input X Real [{count['X']}])"
        f" (declare-output Y Real [{count['Y']}]))"
    )
    return head + _VARIABLE.sub(r"\1[\2]", _DECLARATION.sub("", text))


def _plain(number: str) -> str:
    """A number as the 2.0 grammar takes it next to reals: with a point, without an exponent."""
    plain = format(Decimal(number), "f")
    return plain if "." in plain else f"{plain}.0"


def _reason(message: str) -> str:
    """The package reports some errors as text, others as JSON."""
    try:
        first = json.loads(message)["errors"][0]
    except (ValueError, KeyError, IndexError):
        return message
    return f"{first['message']}: {first['hint']}"


def _network(query: "vnnlib.Query") -> "vnnlib._core.Network":
    networks = query.networks
    if len(networks) != 1:
        raise InputError(f"speaks of {len(networks)} networks; accepted: one")
    network = networks[0]
    if network.hidden or len(network.inputs) != 1 or len(network.outputs) != 1:
        raise InputError(
            f"speaks of {len(network.inputs)} inputs, {len(network.hidden)} hidden values and {len(network.outputs)} "
            "outputs; accepted: one input, one output"
        )
    return network


def _disjuncts(expression: "vnnlib.BoolExpr") -> "list[list[vnnlib.Comparison]]":
    """Disjunctive normal form."""
    found: list[list[vnnlib.Comparison]] = expression.to_dnf()
    if any(isinstance(c, vnnlib.NotEqual) for conjunction in found for c in conjunction):
        raise InputError("uses !=; accepted: <=, <, >=, >, ==")
    return found


def _rows(comparison: "vnnlib.Comparison") -> list[Comparison]:
    left, right = comparison.lhs.to_linear_expr(), comparison.rhs.to_linear_expr()
    sides: tuple[dict[int, float], dict[int, float]] = ({}, {})
    for sign, expression in ((1.0, left), (-1.0, right)):
        for term in expression.terms:
            side = sides[term.var.kind == vnnlib.SymbolKind.Output]
            place = _flat(term.var.indices, term.var.shape)
            side[place] = side.get(place, 0.0) + sign * term.coeff
    below = Comparison(*sides, right.constant - left.constant, isinstance(comparison, vnnlib.LessThan))
    inputs, outputs = map(_negated, sides)
    above = Comparison(inputs, outputs, -below.bound, isinstance(comparison, vnnlib.GreaterThan))
    match comparison:
        case vnnlib.LessEqual() | vnnlib.LessThan():
            return [below]
        case vnnlib.GreaterEqual() | vnnlib.GreaterThan():
            return [above]
        case _:
            return [below, above]


def _negated(side: dict[int, float]) -> dict[int, float]:
    return {place: -weight for place, weight in side.items()}


def _flat(indices: list[int], shape: list[int]) -> int:
    place = 0
    for index, size in zip(indices, shape, strict=True):
        if not 0 <= index < size:
            raise InputError(f"index {indices} is outside the shape {shape}")
        place = place * size + index
    return place
