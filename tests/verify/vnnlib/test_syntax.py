"""Both versions of VNN-LIB, packed files, and what is refused."""

import bz2
import gzip
import itertools
import lzma
from fractions import Fraction
from operator import eq, ge, gt, le, lt
from pathlib import Path
from random import Random

import pytest
import vnnlib

from calipers.core.errors import InputError
from calipers.verify.vnnlib.formulas import Comparison
from calipers.verify.vnnlib.syntax import VnnlibQuery, parse, read

NEW = """(vnnlib-version <2.0>)
(declare-network f (declare-input X real [1,2]) (declare-output Y real [1, 3]))
"""
OLD = """; a comment with (parentheses and a number 1e-3
(declare-const X_0 Real)
(declare-fun X_1 () Real)
(declare-const Y_0 Real) (declare-const Y_1 Real) (declare-const Y_2 Real)
"""


def row(inputs: dict[int, float], outputs: dict[int, float], bound: float, strict: bool = False) -> Comparison:
    x, y = ({place: Fraction(weight) for place, weight in side.items()} for side in (inputs, outputs))
    return Comparison(x, y, Fraction(bound), strict)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("(<= X_0 5)", "(<= X[0,0] 5.0)", [[row({0: 1.0}, {}, 5.0)]]),
        ("(<= 5 X_1)", "(<= 5.0 X[0,1])", [[row({1: -1.0}, {}, -5.0)]]),
        ("(>= X_0 -1.5e-07)", "(>= X[0,0] -0.00000015)", [[row({0: -1.0}, {}, 1.5e-07)]]),
        ("(< Y_2 Y_0)", "(< Y[0,2] Y[0,0])", [[row({}, {2: 1.0, 0: -1.0}, 0.0, True)]]),
        (
            "(<= (+ X_0 (* 2 Y_1)) 1e-3)",
            "(<= (+ X[0,0] (* 2.0 Y[0,1])) 0.001)",
            [[row({0: 1.0}, {1: 2.0}, 0.001)]],
        ),
        (
            "(or (and (<= X_0 1.0) (>= Y_0 3)) (> Y_1 2))",
            "(or (and (<= X[0,0] 1.0) (>= Y[0,0] 3.0)) (> Y[0,1] 2.0))",
            [
                [row({0: 1.0}, {}, 1.0), row({}, {0: -1.0}, -3.0)],
                [row({}, {1: -1.0}, -2.0, True)],
            ],
        ),
        (
            "(== Y_0 1.0)",
            "(== Y[0,0] 1.0)",
            [[row({}, {0: 1.0}, 1.0), row({}, {0: -1.0}, -1.0)]],
        ),
    ],
)
def test_both_versions_say_the_same(old: str, new: str, expected: list) -> None:
    for text in (f"{OLD}(assert {old})", f"{NEW}(assert {new})"):
        query = parse(text)
        assert (len(query.inputs), len(query.outputs)) == (2, 3)
        assert query.assertions == [expected]


@pytest.mark.parametrize(
    ("formula", "same"),
    [
        ("(= X_0 0.5)", "(== X_0 0.5)"),
        ("(= X_0 X_1 0.5)", "(and (<= X_0 X_1) (>= X_0 X_1) (<= X_1 0.5) (>= X_1 0.5))"),
        ("(<= 0 X_0 1)", "(and (<= 0 X_0) (<= X_0 1))"),
        ("(<= X_0 (/ 3.0 2.0))", "(<= X_0 1.5)"),
        ("(<= X_0 (/ (- 3) (* 2 (+ 1 1))))", "(<= X_0 -0.75)"),
        ("(<= X_0 (- 1 0.5 0.25))", "(<= X_0 0.25)"),
        ("(<= X_0 (+ 0.1 0.2))", "(<= X_0 0.3)"),
        ("(<= X_0 (/ 1 3))", "(<= X_0 (/ 2 6))"),
        ("(<= (/ X_0 4) (- Y_0))", "(<= (+ (* 0.25 X_0) Y_0) 0)"),
        ("(<= (* 2 (- X_0 Y_0) 3) 1)", "(<= (- (* 6 X_0) (* 6 Y_0)) 1)"),
        ("(<= (- X_0 X_0) 1)", "(<= 0 1)"),
        ("(<= X_0 +.5E0)", "(<= X_0 0.5)"),
        ("(not (<= X_0 1))", "(> X_0 1)"),
        ("(not (and (< X_0 1) (= Y_0 2)))", "(or (>= X_0 1) (or (< Y_0 2) (> Y_0 2)))"),
        ("(=> (<= X_0 1) (>= Y_0 2))", "(or (> X_0 1) (>= Y_0 2))"),
        ("(not (=> (<= X_0 1) (>= Y_0 2)))", "(and (<= X_0 1) (< Y_0 2))"),
        ("(distinct X_0 1)", "(or (< X_0 1) (> X_0 1))"),
        ("(or false (and true (<= X_0 1)))", "(<= X_0 1)"),
    ],
)
def test_other_words_for_the_same(formula: str, same: str) -> None:
    one, other = (parse(f"{OLD}(assert {f})") for f in (formula, same))
    for x, z, y in itertools.product([-0.75, 0.25, 0.3, 1 / 3, 0.5, 1.0, 1.5], [0.0, 0.5], [-0.25, 1.0, 2.0]):
        assert satisfied(one, [x, z], [y] * 3) == satisfied(other, [x, z], [y] * 3)


SCRIPT = """(set-logic QF_LRA)(set-info :source |a (quoted) ; name|)(set-option :produce-models true)
; declare-const Z_0 Real
(declare-fun X_0 () Real) (declare-const\tX_1\nReal)(declare-const Y_0 Real)
(assert (<= X_0 1e-2)) ; (assert (<= X_0 0))
(echo "a ""text"" (with parentheses")(check-sat)(get-model)(get-value (X_0))(exit)
(assert (<= X_0 0))
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_scripts_for_other_solvers(encoding: str, newline: str, tmp_path: Path) -> None:
    path = tmp_path / "p.vnnlib"
    text = SCRIPT.replace("; (assert (<= X_0 0))", "") if newline == "\r" else SCRIPT
    path.write_bytes(text.replace("\n", newline).encode(encoding))
    query = read(path)
    assert (query.inputs, query.outputs) == (("X_0", "X_1"), ("Y_0",))
    assert query.assertions == [[[row({0: 1.0}, {}, 0.01)]]]


LINE = r"line 5, column \d+: "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{OLD}(assert (<= (* X_0 X_1) 1.0))", LINE + r"'\(\* X_0 X_1\)' is not linear"),
        (f"{OLD}(assert (<= (/ 1 X_0) 1.0))", LINE + "'.*' is not linear"),
        (f"{OLD}(assert (<= X_0 (/ 1 0)))", LINE + "'.*' divides by 0"),
        (f"{OLD}(assert (<= X_0 Z_3))", r"line 5, column 17: unknown symbol 'Z_3'; accepted: .*\(X_0, X_1, Y_0"),
        (f"{OLD}(assert (<= X_0 X_7))", LINE + "unknown symbol 'X_7'"),
        (f"{OLD}(assert (<= X_0 1e999))", LINE + "number 1e999 is beyond double precision"),
        (f"{OLD}(assert (<= X_0 1.0)", "not VNN-LIB.*line 5, column 1: '\\(' is never closed"),
        (f"{OLD}(assert (<= X_0 1.0)))", r"line 5, column 22: '\)' closes nothing"),
        (f"{OLD}(assert (<= X_0))", LINE + "'.*' has 1 operands; accepted: 2 or more"),
        (f"{OLD}(assert X_0)", LINE + "'X_0' is no formula"),
        (f"{OLD}(assert (ite true (<= X_0 1) (<= X_0 2)))", LINE + "'.*' is no formula; accepted: .*and, or"),
        (f"{OLD}(define-fun c () Real 1.0)", LINE + "'.*' is not understood; accepted: declare-const"),
        (f"{OLD}(declare-const x0 Real)", LINE + "unknown symbol 'x0'; accepted: X_0"),
        (f"{OLD}(declare-const X_2 Int)", LINE + "'.*'; accepted: .declare-const X_0 Real"),
        (f"{OLD}(declare-const X_5 Real)", "declares X_5, but not X_2"),
        (f"{NEW}(assert (<= X[0,7] 1.0))", r"line 3, column 13: unknown symbol 'X\[0,7\]'"),
        ("(assert (<= X_0 1.0))", "unknown symbol 'X_0'.*none so far"),
        ("(assert true)", "declares no input"),
        ("", "declares no input"),
        ("hello", "line 1, column 1: 'hello' stands outside parentheses"),
        ("(declare-const X_0 Real)(assert (<= X_0 1.0))", "declares no output"),
        (NEW + NEW.splitlines()[1].replace("f", "g", 1) + "(assert (<= X[0,0] 1.0))", "a second network"),
        (NEW.replace("(declare-output", "(declare-input Z real [1]) (declare-output"), "accepted: one declare-input"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(text)


def random_formula(random: Random, depth: int) -> str:
    """In the words of version 2.0."""

    def term(level: int) -> str:
        kind = random.choice(["number", "variable", "variable", "sum", "product"] if level else ["number", "variable"])
        if kind == "number":
            return f"{random.randint(-8, 8) / 4}"
        if kind == "variable":
            return random.choice([f"X[0,{random.randrange(2)}]", f"Y[0, {random.randrange(3)}]"])
        if kind == "product":
            return f"(* {random.randint(-8, 8) / 4} {term(level - 1)})"
        return f"({random.choice('+-')} {term(level - 1)} {term(level - 1)})"

    if depth and random.random() < 0.7:
        parts = [random_formula(random, depth - 1) for _ in range(random.randint(1, 3))]
        return f"({random.choice(['and', 'or'])} {' '.join(parts)})"
    return f"({random.choice(['<=', '<', '>=', '>', '=='])} {term(2)} {term(2)})"


def satisfied(query: VnnlibQuery, x: list[float], y: list[float]) -> bool:
    def holds(row: Comparison) -> bool:
        value = sum(w * x[i] for i, w in row.inputs.items()) + sum(w * y[i] for i, w in row.outputs.items())
        return value < row.bound if row.strict else value <= row.bound

    return all(any(all(map(holds, part)) for part in assertion) for assertion in query.assertions)


def judged(comparison: vnnlib.Comparison, x: list[float], y: list[float]) -> bool:
    """What the standard's own reader makes of a comparison at a point."""

    def value(expression: vnnlib.LinearArithExpr) -> float:
        points = {vnnlib.SymbolKind.Input: x, vnnlib.SymbolKind.Output: y}
        return expression.constant + sum(t.coeff * points[t.var.kind][t.var.indices[1]] for t in expression.terms)

    left, right = value(comparison.lhs.to_linear_expr()), value(comparison.rhs.to_linear_expr())
    compare = {"LessEqual": le, "LessThan": lt, "GreaterEqual": ge, "GreaterThan": gt, "Equal": eq}
    return bool(compare[type(comparison).__name__](left, right))


@pytest.mark.parametrize("seed", range(20))
def test_the_reader_of_the_standard_says_the_same(seed: int) -> None:
    random = Random(seed)
    text = f"{NEW}(assert {random_formula(random, 2)})"
    query, peer = parse(text), vnnlib.parse_query_string(text)
    disjunctions = [assertion.expr.to_dnf() for assertion in peer.assertions]
    for _ in range(40):  # on a grid of quarters, so that ties occur and no sum is rounded
        x, y = ([random.randint(-8, 8) / 4 for _ in range(n)] for n in (2, 3))
        expected = all(any(all(judged(c, x, y) for c in part) for part in dnf) for dnf in disjunctions)
        assert satisfied(query, x, y) == expected


@pytest.mark.parametrize(("suffix", "opener"), [("", open), (".gz", gzip.open), (".bz2", bz2.open), (".xz", lzma.open)])
def test_packed_files(suffix: str, opener: object, tmp_path: Path) -> None:
    path = tmp_path / f"p.vnnlib{suffix}"
    with opener(path, "wt") as file:  # type: ignore[operator]
        file.write(f"{OLD}(assert (<= X_0 5))")
    assert read(path).assertions == [[[row({0: 1.0}, {}, 5.0)]]]


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.vnnlib: there is no such file"):
        read(tmp_path / "gone.vnnlib")
    damaged = tmp_path / "damaged.vnnlib.gz"
    damaged.write_bytes(b"no gzip")
    with pytest.raises(InputError, match=r"damaged\.vnnlib\.gz: cannot be read"):
        read(damaged)
