"""Both versions of VNN-LIB, packed files, and what is refused."""

import bz2
import gzip
import lzma
from pathlib import Path

import pytest

from calipers.core.errors import InputError
from calipers.verify.vnnlib.syntax import Comparison, parse, read

NEW = """(vnnlib-version <2.0>)
(declare-network f (declare-input X real [1,2]) (declare-output Y real [1, 3]))
"""
OLD = """; a comment with (parentheses and a number 1e-3
(declare-const X_0 Real)
(declare-fun X_1 () Real)
(declare-const Y_0 Real) (declare-const Y_1 Real) (declare-const Y_2 Real)
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("(<= X_0 5)", "(<= X[0,0] 5.0)", [[Comparison({0: 1.0}, {}, 5.0, False)]]),
        ("(<= 5 X_1)", "(<= 5.0 X[0,1])", [[Comparison({1: -1.0}, {}, -5.0, False)]]),
        ("(>= X_0 -1.5e-07)", "(>= X[0,0] -0.00000015)", [[Comparison({0: -1.0}, {}, 1.5e-07, False)]]),
        ("(< Y_2 Y_0)", "(< Y[0,2] Y[0,0])", [[Comparison({}, {2: 1.0, 0: -1.0}, 0.0, True)]]),
        (
            "(<= (+ X_0 (* 2 Y_1)) 1e-3)",
            "(<= (+ X[0,0] (* 2.0 Y[0,1])) 0.001)",
            [[Comparison({0: 1.0}, {1: 2.0}, 0.001, False)]],
        ),
        (
            "(or (and (<= X_0 1.0) (>= Y_0 3)) (> Y_1 2))",
            "(or (and (<= X[0,0] 1.0) (>= Y[0,0] 3.0)) (> Y[0,1] 2.0))",
            [
                [Comparison({0: 1.0}, {}, 1.0, False), Comparison({}, {0: -1.0}, -3.0, False)],
                [Comparison({}, {1: -1.0}, -2.0, True)],
            ],
        ),
        (
            "(== Y_0 1.0)",
            "(== Y[0,0] 1.0)",
            [[Comparison({}, {0: 1.0}, 1.0, False), Comparison({}, {0: -1.0}, -1.0, False)]],
        ),
    ],
)
def test_both_versions_say_the_same(old: str, new: str, expected: list) -> None:
    for text in (f"{OLD}(assert {old})", f"{NEW}(assert {new})"):
        query = parse(text)
        assert (query.inputs, query.outputs) == (2, 3)
        assert query.assertions == [expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{OLD}(assert (<= (* X_0 X_1) 1.0))", "Non-linear"),
        (f"{OLD}(assert (!= X_0 1.0))", "uses !="),
        (f"{OLD}(assert (<= X_0 1.0)", "not VNN-LIB"),
        (f"{NEW}(assert (<= X[0,7] 1.0))", "out of bounds"),
        ("(assert (<= X_0 1.0))", "declares no input"),
        ("(declare-const X_0 Real)(assert (<= X_0 1.0))", "declares no output"),
        (NEW + NEW.splitlines()[1].replace("f", "g", 1) + "(assert (<= X[0,0] 1.0))", "not VNN-LIB|2 networks"),
    ],
)
def test_what_is_not_understood_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(text)


@pytest.mark.parametrize(("suffix", "opener"), [("", open), (".gz", gzip.open), (".bz2", bz2.open), (".xz", lzma.open)])
def test_packed_files(suffix: str, opener: object, tmp_path: Path) -> None:
    path = tmp_path / f"p.vnnlib{suffix}"
    with opener(path, "wt") as file:  # type: ignore[operator]
        file.write(f"{OLD}(assert (<= X_0 5))")
    assert read(path).assertions == [[[Comparison({0: 1.0}, {}, 5.0, False)]]]


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.vnnlib: there is no such file"):
        read(tmp_path / "gone.vnnlib")
    damaged = tmp_path / "damaged.vnnlib.gz"
    damaged.write_bytes(b"no gzip")
    with pytest.raises(InputError, match=r"damaged\.vnnlib\.gz: cannot be read"):
        read(damaged)
