"""What properties of the identity come to, by hand: y = x on the unit square."""

from fractions import Fraction

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from calipers.bounds import WorkBudget
from calipers.core.errors import InputError
from calipers.graph.from_onnx import OnnxNetwork, load_onnx_network
from calipers.verify import Limits
from calipers.verify.vnnlib import Answer, Property, decide
from calipers.verify.vnnlib.syntax import parse
from tests.limits import NEVER
from tests.verify.vnnlib.families import property_text

SQUARE = [(0.0, 1.0), (0.0, 1.0)]
SAT, UNSAT, UNKNOWN = "sat", "unsat", "unknown"


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> OnnxNetwork:
    path = tmp_path_factory.mktemp("identity") / "net.onnx"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "identity", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return load_onnx_network(path)


def answer(network: OnnxNetwork, unsafe: str, box: list | None = None) -> Answer:
    text = property_text(SQUARE if box is None else box, 2, unsafe)
    return decide(network, Property.of(parse(text)), Limits(WorkBudget(), NEVER))


@pytest.mark.parametrize(
    ("unsafe", "expected"),
    [
        ("(= Y_0 Y_1)", SAT),
        ("(= Y_0 Y_1 0.25)", SAT),
        ("(= (+ Y_0 Y_1) 2.5)", UNSAT),
        ("(distinct Y_0 Y_1)", SAT),
        ("(not (= Y_0 Y_0))", UNSAT),
        ("(< 0.2 Y_0 0.4)", SAT),
        ("(<= 1.2 Y_0 1.4)", UNSAT),
        ("(> Y_0 1.0)", UNSAT),
        ("(< Y_0 0.0)", UNSAT),
        ("(<= Y_0 -0.0)", SAT),
        ("(=> (>= Y_0 0.5) (>= Y_1 2.0))", SAT),
        ("(not (and (<= Y_0 1.0) (<= Y_1 1.0)))", UNSAT),
        ("(or (and (>= Y_0 2) (<= Y_1 0.5)) (or (and (>= Y_1 0.9)) (<= Y_0 -1)))", SAT),
        ("(or (and (>= Y_0 2) (<= Y_1 0.5)) (or (and (>= Y_1 1.9)) (<= Y_0 -1)))", UNSAT),
        ("(or (and (<= X_0 0.5) (>= Y_0 0.6)) (and (>= X_0 0.5) (<= Y_0 0.4)))", UNSAT),
        ("(and (= X_0 X_1) (>= (- Y_0 Y_1) 0.25))", UNSAT),
        ("(and (= X_0 X_1) (>= (+ Y_0 Y_1) 1.5))", SAT),
        ("(>= (* 1e-3 Y_0) 1.0e-3)", SAT),
        ("(<= Y_0 -1e300)", UNSAT),
        ("(>= (* 1e300 Y_0) 2e300)", UNSAT),
        ("(> Y_0 X_0)", UNKNOWN),
        # Decimals that double precision rounds to 1: the difference is beyond every floating-point number.
        ("(>= Y_0 1.00000000000000000001)", UNKNOWN),
        ("(and (>= (* 0.1 Y_0) 0.1) (<= (* 0.1 Y_0) 0.1))", SAT),
    ],
)
def test_answers(identity: OnnxNetwork, unsafe: str, expected: str) -> None:
    assert answer(identity, f"(assert {unsafe})").outcome == expected


@pytest.mark.parametrize(
    ("high", "unsafe", "expected"),
    [
        # The input may be a hair above 1, and nothing in floating point is.
        ("1.00000000000000000001", "(> Y_0 1)", UNKNOWN),
        ("0.99999999999999999999", "(>= Y_0 1)", UNKNOWN),
        ("0.99999999999999999999", "(>= Y_0 0.999)", SAT),
    ],
)
def test_limits_between_two_numbers(identity: OnnxNetwork, high: str, unsafe: str, expected: str) -> None:
    text = property_text(SQUARE, 2, f"(assert {unsafe})").replace("(<= X_0 1.0)", f"(<= X_0 {high})")
    found = decide(identity, Property.of(parse(text)), Limits(WorkBudget(), NEVER))
    assert found.outcome == expected
    assert found.unsafe is None or found.unsafe.x[0] < 1


def test_an_input_that_single_precision_does_not_know(identity: OnnxNetwork) -> None:
    box = [(0.1, 0.1), (0.0, 1.0)]
    assert float(np.float32(0.1)) > 0.1
    # The number beside it is larger, the input itself is not.
    assert answer(identity, "(assert (> Y_0 0.1))", box).outcome == UNKNOWN
    assert answer(identity, "(assert (> Y_0 0.09))", box).outcome == SAT
    assert answer(identity, "(assert (> Y_0 0.11))", box).outcome == UNSAT


def test_a_decimal_is_the_number_that_it_was_printed_from(identity: OnnxNetwork) -> None:
    value = float(np.float32(0.3))
    assert Fraction(repr(value)) > Fraction(value)
    box = [(value, value), (0.0, 1.0)]
    assert answer(identity, f"(assert (>= Y_0 {value!r}))", box).outcome == SAT
    assert answer(identity, f"(assert (> Y_0 {value!r}))", box).outcome == UNSAT


def test_a_strict_limit_keeps_inputs_away_from_it(identity: OnnxNetwork) -> None:
    found = answer(identity, "(assert (< X_0 0.5))(assert (>= Y_0 0.4999))")
    assert found.unsafe is not None
    assert found.unsafe.x[0] < 0.5
    assert answer(identity, "(assert (< X_0 0.0))(assert (>= Y_0 0.0))").outcome == UNSAT
    assert answer(identity, "(assert (< X_0 0.5))(assert (>= Y_0 0.5))").outcome == UNKNOWN


def test_limits_beyond_single_precision_are_refused(identity: OnnxNetwork) -> None:
    with pytest.raises(InputError, match=r"input X_0 lies in \[-1e\+39, 1\], beyond single precision"):
        answer(identity, "(assert (>= Y_0 0))", [(-1e39, 1.0), (0.0, 1.0)])
